//go:build lab

// netwatch init asks systemd what runs.

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// A wayToStart is a way in which systemd starts a coturn, and what init says of it.
type wayToStart struct {
	// file is coturn's, named with a port of its own in it; says is the line of init,
	// with the file in the place of FILE.
	file, says string
	// files are others that the way needs, with coturn's file in the place of FILE.
	files map[string]string
	// do starts it, unless systemctl start does.
	unit, do string
}

const turnserver = "[Service]\nExecStart=/usr/bin/turnserver -c FILE --pidfile=\n"

// waysToStart are the ways that unit files do not show.
var waysToStart = []wayToStart{
	{
		file: "/etc/turn/dropin.conf", unit: "dropin-turn.service", says: "coturn: dropin-turn.service with FILE",
		files: map[string]string{
			"/etc/systemd/system/dropin-turn.service":             strings.Replace(turnserver, "FILE", "/etc/turn/none.conf", 1),
			"/etc/systemd/system/dropin-turn.service.d/mine.conf": "[Service]\nExecStart=\n" + turnserver,
		},
	},
	{
		file: "/etc/turn/variable.conf", unit: "variable-turn.service", says: "coturn: variable-turn.service with FILE",
		files: map[string]string{
			"/etc/turn/environment": "# where it lies\nDIR=/etc/none\nCONF=\"FILE\"\n",
			"/etc/systemd/system/variable-turn.service": "[Service]\nEnvironment=CONF=/etc/none MORE=\"-v -v\"\n" +
				"EnvironmentFile=/etc/turn/environment\nExecStart=/usr/bin/turnserver $MORE -c ${CONF} --pidfile= $NONE\n",
		},
	},
	{
		file: "/etc/turn/my own.conf", unit: "quoted-turn.service", says: "coturn: quoted-turn.service with FILE",
		files: map[string]string{
			"/etc/systemd/system/quoted-turn.service": "[Service]\nExecStart=\"/usr/bin/turnserver\" '-c' \"FILE\" --pidfile=\n",
		},
	},
	{
		file: "/etc/turn/a.conf", unit: "turn@a.service", says: "coturn: turn@a.service with FILE",
		files: map[string]string{
			"/etc/systemd/system/turn@.service": "[Service]\nExecStart=turnserver -c /etc/turn/%i.conf --pidfile=\n",
		},
	},
	{
		file: "/etc/turn/generated.conf", unit: "generated-turn.service", says: "coturn: generated-turn.service with FILE",
		files: map[string]string{
			"/etc/systemd/system-generators/turn": "#!/bin/sh\nprintf '[Service]\\nExecStart=/usr/bin/turnserver -c %s " +
				"--pidfile=\\n' FILE >\"$1/generated-turn.service\"\n",
		},
	},
	{
		file: "/etc/turn/wrapped.conf", unit: "wrapped-turn.service", says: "coturn: wrapped-turn.service with FILE",
		files: map[string]string{
			"/etc/systemd/system/wrapped-turn.service": "[Service]\n" +
				"ExecStart=/usr/bin/env LANG=C nice -n 5 /bin/sh -c 'exec turnserver -c \"FILE\" --pidfile='\n",
		},
	},
	{
		// No command tells, but what runs does.
		file: "/etc/turn/script.conf", unit: "script-turn.service", says: "coturn: script-turn.service with FILE",
		files: map[string]string{
			"/usr/local/bin/start-turn":               "#!/bin/sh\nexec turnserver -c FILE --pidfile=\n",
			"/etc/systemd/system/script-turn.service": "[Service]\nExecStart=/usr/local/bin/start-turn\n",
		},
	},
	{
		file: "/etc/turn/passing.conf", unit: "passing-turn.service",
		says: "coturn: passing-turn.service with FILE\n    it will not be there after the next boot",
		do:   "systemd-run -q --unit=passing-turn.service turnserver -c FILE --pidfile=",
	},
	{
		file: "/etc/turn/run.conf", unit: "run-turn.service",
		says:  "coturn: run-turn.service with FILE\n    it will not be there after the next boot",
		files: map[string]string{"/etc/turn/run.unit": turnserver},
		do: "mkdir -p /run/systemd/system && cp /etc/turn/run.unit /run/systemd/system/run-turn.service && " +
			"systemctl daemon-reload && systemctl start run-turn.service",
	},
	{
		file: "/etc/turn/idle.conf", unit: "idle-turn.service", do: "true",
		says:  "coturn left alone: idle-turn.service with FILE: it neither runs nor starts at boot\n    ",
		files: map[string]string{"/etc/systemd/system/idle-turn.service": turnserver},
	},
	{
		file: "/etc/turn/late.conf", unit: "late-turn.service", do: "true",
		says: "not seen: looking at what late-turn.service starts: what $CONFIGURATION_DIRECTORY is, " +
			"systemd knows only when it starts it",
		files: map[string]string{
			"/etc/systemd/system/late-turn.service": "[Service]\nConfigurationDirectory=turn\n" +
				"ExecStart=/usr/bin/turnserver -c ${CONFIGURATION_DIRECTORY}/late.conf\n",
		},
	},
	{
		file: "/etc/turn/maybe.conf", unit: "maybe-turn.service", do: "true",
		says: `not seen: looking at what maybe-turn.service starts: a shell's line with "&" in it, which is not followed`,
		files: map[string]string{
			"/etc/systemd/system/maybe-turn.service": "[Service]\nExecStart=/bin/sh -c 'test -e x && exec turnserver -c FILE'\n",
		},
	},
}

// at writes a way's files, with a port for its coturn.
func (s wayToStart) at(t *testing.T, port int) {
	t.Helper()
	conf := fmt.Sprintf("listening-ip=127.0.0.1\nlistening-port=%d\nrealm=example.org\nuse-auth-secret\n"+
		"static-auth-secret=%s\nno-tls\nno-dtls\nno-cli\nsyslog\n", port, Secret)
	must(t, server.WriteFile(s.file, conf, 0o644))
	for name, text := range s.files {
		must(t, server.WriteFile(name, strings.ReplaceAll(text, "FILE", s.file), 0o755))
	}
}

// run starts its coturn.
func (s wayToStart) run(t *testing.T) {
	t.Helper()
	line := strings.ReplaceAll(s.do, "FILE", "'"+s.file+"'")
	if line == "" {
		line = "systemctl start " + s.unit
	}
	shell(t, line)
	t.Cleanup(func() {
		_, _ = server.Exec(context.Background(), "systemctl", "stop", s.unit) // It may not run.
	})
}

// Whatever way systemd starts a coturn in, init sees the file that it is started with,
// or says what it does not see; and what it writes is right.
func TestInitAsksSystemd(t *testing.T) {
	onReleases(t, func(t *testing.T) {
		must(t, install())
		shell(t, "systemctl stop "+YunoHost.Unit+" "+Debian.Unit+"; rm -rf /etc/netwatch /etc/turn /etc/matrix-synapse")
		for i, s := range waysToStart {
			s.at(t, 3600+i)
		}
		shell(t, "systemctl daemon-reload")
		for _, s := range waysToStart {
			s.run(t)
		}
		said := shell(t, "netwatch init && netwatch check && cat /etc/netwatch/netwatch.toml")
		for _, s := range waysToStart {
			if want := strings.ReplaceAll(s.says, "FILE", s.file); !strings.Contains(said, want) {
				t.Errorf("of %s it does not say %q", s.unit, want)
			}
			adopted := strings.HasPrefix(s.says, "coturn: ")
			if rule := "restart " + s.unit + "\""; strings.Contains(said, rule) != adopted {
				t.Errorf("that there is a rule with %s is %v", rule, !adopted)
			}
		}
		if t.Failed() {
			t.Log(said)
		}
	})
}

// A systemd that cannot be asked is said, and then the files of units count.
func TestInitWithoutBus(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "rm -rf /etc/netwatch; systemctl stop dbus.socket dbus.service")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "systemctl", "start", "dbus.socket", "dbus.service")
		must(t, err)
	})
	said := shell(t, "netwatch init --dry-run")
	for _, want := range []string{
		"coturn: " + YunoHost.Unit + " with " + YunoHost.File + "\n",
		"not seen: connecting to the system bus: ", "; so what follows is by the files of units alone\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// What init writes is nothing that doctor calls a problem, and what it says to do then
// is enough.
func TestInitIsWell(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "rm -rf /etc/netwatch && systemctl enable -q "+YunoHost.Unit)
	_, err := server.Renew(doctorDomain)
	must(t, err)
	shell(t, fmt.Sprintf("mkdir -p /etc/turn && cp %s/*.pem /etc/turn && chmod 644 /etc/turn/crt.pem && "+
		"chmod 600 /etc/turn/key.pem && printf '\\ncert=/etc/turn/crt.pem\\npkey=/etc/turn/key.pem\\n' >>%s",
		certificates(doctorDomain), YunoHost.File))
	if said := shell(t, "netwatch init"); !strings.Contains(said, "next: systemctl enable --now netwatch.socket") {
		t.Error("it does not say what comes next:", said)
	}
	shell(t, "cp /etc/hosts /run/hosts")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c",
			"cp /run/hosts /etc/hosts; rm -r /etc/turn; systemctl disable "+YunoHost.Unit)
		must(t, err)
	})
	for i, name := range []string{"stun.cloudflare.com", "stun.nextcloud.com", "stun.sipgate.net"} {
		for _, a := range StunServers[i] {
			shell(t, "echo "+a.String()+" "+name+" >>/etc/hosts")
		}
	}
	shell(t, "systemctl start netwatch.socket netwatch.service")
	idle(t, FirstPublic)
	if all, code := doctor(t); code != 0 {
		t.Errorf("doctor exits %d: %+v", code, all)
	}
}
