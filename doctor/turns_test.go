package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/servers"
	"netwatch/sources"
	"netwatch/systemd"
)

// sceneOf is a scene of which all that checks ask is known: units run unless they are
// named as others, and servers say one address.
func sceneOf(t *testing.T, files machinetest.Files, toml string, units map[string]systemd.UnitLook) *scene {
	t.Helper()
	tree := files.Build(t)
	d := Doctor{Tree: tree, Config: "/etc/netwatch/netwatch.toml", Program: "/usr/bin/netwatch"}
	s := &scene{Doctor: d, found: machine.Find(tree, d.Program)}
	s.lookUnit = func(_ context.Context, name string) (systemd.UnitLook, error) {
		if look, ok := units[name]; ok {
			return look, nil
		}
		return systemd.UnitLook{State: "active (running)", Running: true, File: "enabled"}, nil
	}
	said := sources.Told{Family: netwatch.IPv4, Address: addr("203.0.113.1")}
	s.told = func() []told { return []told{{"stun", said}} }
	s.daemon = func() (control.Status, error) { return control.Status{}, errors.New("down") }
	s.turns = func() []coturn { return s.lookAtTurns(t.Context()) }
	s.inUse = func() []inUse { return s.lookAtServers(t.Context()) }
	cfg, err := config.Parse("netwatch.toml", []byte(toml), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg = cfg
	return s
}

// one wants one finding.
func one(t *testing.T, what string, found []Finding, level Level, words string) {
	t.Helper()
	if len(found) != 1 {
		t.Errorf("%s: %+v, and not one finding", what, found)
		return
	}
	wants(t, what, found[0], level, words)
}

// none wants none.
func none(t *testing.T, what string, found []Finding) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%s: %+v", what, found)
	}
}

const (
	stopped  = "[source.stun]\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"restart x.service\"]\n"
	turnFile = "/etc/matrix-synapse/coturn.conf"
	turnUnit = "synapse-coturn.service"
)

// rotating is a configuration with a rule that rotates the file, and does more.
func rotating(more string) string {
	return "[source.stun]\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn " + turnFile +
		"\", \"restart " + turnUnit + "\"]\n" + more
}

// app is an app of YunoHost whose coturn has this configuration.
func app(conf string) machinetest.Files {
	return machinetest.YunoHost("synapse", turnUnit, "matrix.example.org").And(machinetest.Files{turnFile: conf})
}

const secret = "use-auth-secret\nstatic-auth-secret=s\nrealm=r\n"

func TestRules(t *testing.T) {
	const right = secret + "external-ip=203.0.113.1\n"
	none(t, "rotated", checkRules(t.Context(), sceneOf(t, app(right), rotating(""), nil)))
	one(t, "not rotated", checkRules(t.Context(), sceneOf(t, app(right), stopped, nil)), Warning, "no rule rotates it")
	stale := checkRules(t.Context(), sceneOf(t, app(secret+"external-ip=203.0.113.9\n"), stopped, nil))
	one(t, "not rotated, and wrong", stale, Problem, "external-ip is 203.0.113.9, and the public address 203.0.113.1")
	linked := app("-> /data/coturn.conf").And(machinetest.Files{"/data/coturn.conf": right})
	none(t, "by another name", checkRules(t.Context(), sceneOf(t, linked,
		strings.ReplaceAll(rotating(""), turnFile, "/data/coturn.conf"), nil)))
	off := map[string]systemd.UnitLook{turnUnit: {State: "inactive (dead)", File: "disabled"}}
	none(t, "nobody runs it", checkRules(t.Context(), sceneOf(t, app(right), stopped, off)))
}

func TestBound(t *testing.T) {
	own := netwatch.OwnAddress(netwatch.IPv4, netip.Addr{})
	for _, c := range []struct {
		name, lines, words string
	}{
		{"none", "", ""},
		{"all", "listening-ip=0.0.0.0\nrelay-ip=::\n", ""},
		{"loopback", "listening-ip=127.0.0.1\nlistening-ip=::1\n", ""},
		{"gone", "listening-ip=192.0.2.77\n", "listening-ip=192.0.2.77 is no address of this machine: coturn started"},
		{"gone beside one that is here", "listening-ip=192.0.2.77\nlistening-ip=127.0.0.1\n", "listening-ip=192.0.2.77"},
		{"relay", "relay-ip=192.0.2.77\n", "coturn lends no relay by it"},
	} {
		found := checkBound(t.Context(), sceneOf(t, app(secret+c.lines), rotating(""), nil))
		if c.words == "" {
			none(t, c.name, found)
		} else if one(t, c.name, found, Problem, c.words); own.IsValid() && !strings.Contains(found[0].Hint, own.String()) {
			t.Errorf("%s: the remedy does not name %s: %s", c.name, own, found[0].Hint)
		}
	}
	if own.IsValid() {
		none(t, "own", checkBound(t.Context(), sceneOf(t, app(secret+"listening-ip="+own.String()+"\n"), rotating(""), nil)))
	}
	// Process 1 may not be looked at, or is in the same network.
	unseen := map[string]systemd.UnitLook{turnUnit: {State: "active (running)", Running: true, PID: 1 << 30}}
	one(t, "a process that is not seen", checkBound(t.Context(), sceneOf(t, app(secret+"relay-ip=192.0.2.77\n"),
		rotating(""), unseen)), Unknown, "not seen from here")
}

func TestPorts(t *testing.T) {
	const otherFile, otherUnit = "/etc/matrix-synapse__2/coturn.conf", "synapse__2-coturn.service"
	const tls = "no-udp\nno-tcp\ncert=/c\npkey=/k\ntls-listening-port="
	const enabled = "/etc/systemd/system/multi-user.target.wants/"
	idle := machinetest.Files{
		"/lib/systemd/system/coturn.service": "[Service]\nExecStart=turnserver -c /etc/turnserver.conf\n",
		"/etc/turnserver.conf":               "syslog\n",
		enabled + "coturn.service":           "-> /lib/systemd/system/coturn.service",
		enabled + turnUnit:                   "-> /etc/systemd/system/" + turnUnit,
	}
	noDebian := map[string]systemd.UnitLook{debianUnit: {State: "inactive (dead)"}}
	for _, c := range []struct {
		name, conf, other string
		more              machinetest.Files
		units             map[string]systemd.UnitLook
		words, hint       string
	}{
		{"TLS alone, each its own", tls + "5349\n", tls + "5351\n", nil, noDebian, "", ""},
		{
			"TLS alone, one", tls + "5349\n", tls + "5349\n", nil, noDebian, "(tls): which",
			"tls-listening-port=5351 into " + otherFile,
		},
		{
			"plain", "", "", nil, noDebian, turnUnit + " and " + otherUnit + " share it (udp)",
			"listening-port=3480 into " + otherFile,
		},
		{"each its address", "listening-ip=192.0.2.1\n", "listening-ip=192.0.2.2\n", nil, noDebian, "", ""},
		{"one of them everywhere", "listening-ip=192.0.2.1\n", "", nil, noDebian, "(udp)", "listening-port"},
		{"UDP here, TCP there", "no-tcp\n", "no-udp\n", nil, noDebian, "", ""},
		{"Debian's, and TLS", tls + "5349\n", tls + "5351\n", idle, nil, "", ""},
		{
			"Debian's, and plain", "", tls + "5351\n", idle, nil, turnUnit + " and coturn.service share it",
			"systemctl disable --now coturn.service",
		},
		{"the other is off", "", "", nil, map[string]systemd.UnitLook{otherUnit: {}, debianUnit: {}}, "", ""},
	} {
		files := app(secret + c.conf).And(machinetest.YunoHost("synapse__2", otherUnit, "chat.example.org")).And(
			machinetest.Files{otherFile: secret + c.other}).And(c.more)
		found := checkPorts(t.Context(), sceneOf(t, files, stopped, c.units))
		if c.words == "" {
			one(t, c.name, found, OK, "no two")
		} else if one(t, c.name, found, Warning, c.words); !strings.Contains(found[0].Hint, c.hint) {
			t.Errorf("%s: the remedy: %+v", c.name, found[0])
		}
	}
}

// What two plain lines hide is given to callers by the step that is named.
func TestUnheeded(t *testing.T) {
	keep := servers.Options{"private": "keep"}
	four := netwatch.Address{Address: addr("203.0.113.1"), Own: addr("192.168.1.2")}
	six := netwatch.Address{Address: addr("2001:db8::1"), Own: addr("2001:db8::1")}
	both := netwatch.Addresses{netwatch.IPv4: four, netwatch.IPv6: six}
	r := servers.Rotation{
		Target: servers.Target{Server: "coturn", File: "/etc/a b", Options: keep},
		Here:   []netip.Addr{four.Own, six.Own},
	}
	for _, c := range []struct {
		name, text string
		public     netwatch.Addresses
		level      Level
		words      string
		hint       string
	}{
		{
			"two families", "external-ip=203.0.113.1\nexternal-ip=2001:db8::1\n", both, Note, "and no line with 2001:db8::1",
			"have the step be `rotate coturn '/etc/a b' private=auto families=ipv4,ipv6`; " +
				"callers may then reach 192.168.1.2 as a peer",
		},
		{
			"one of them not known", "external-ip=203.0.113.1\nexternal-ip=2001:db8::1\n",
			netwatch.Addresses{netwatch.IPv4: four},
			Note, "and no line with 2001:db8::1", "private=none`",
		},
		{
			"a pair beside a plain line", "external-ip=203.0.113.1\nexternal-ip=203.0.113.9/10.0.0.1\n",
			netwatch.Addresses{netwatch.IPv4: four},
			Note, "and no line with 203.0.113.9", "private=none`",
		},
		{"pairs", "external-ip=203.0.113.1/192.168.1.2\nexternal-ip=2001:db8::1/2001:db8::1\n", both, OK, "", ""},
		{"twice the same", "external-ip=203.0.113.1\nexternal-ip=203.0.113.1\n", both, OK, "", ""},
	} {
		r.Public = c.public
		f := judgeExternal(r, []byte(c.text))
		if wants(t, c.name, f, c.level, c.words); !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%s: the remedy: %s", c.name, f.Hint)
		}
	}
}

// While an address is held, that is the one that all else is compared with.
func TestDamped(t *testing.T) {
	s := sceneOf(t, app(secret), stopped, nil)
	none(t, "nothing held", s.damped())
	s.daemon = func() (control.Status, error) {
		return control.Status{Damped: []netwatch.Damped{{
			Family: netwatch.IPv4, Held: addr("203.0.113.8"), Seen: addr("203.0.113.1"), Until: time.Now().Add(time.Minute),
		}}}, nil
	}
	one(t, "held", s.damped(), Warning, "203.0.113.8 is held while 203.0.113.1 comes and goes")
	if known := s.known()[netwatch.IPv4]; known != addr("203.0.113.8") {
		t.Errorf("it goes by %s", known)
	}
}

func TestServed(t *testing.T) {
	another := netwatch.Failure(fmt.Errorf("verifying: %w", actions.ErrAnotherServed))
	turn := machine.Turn{Unit: turnUnit}
	one(t, "another", judgeServed("c", another, turn), Problem, "serves another one")
	if hint := judgeServed("c", another, turn)[0].Hint; !strings.HasPrefix(hint,
		"systemctl kill --signal=USR2 "+turnUnit+" has it read") {
		t.Error(hint)
	}
	one(t, "right", judgeServed("c", netwatch.Result{Detail: "serves it"}, turn), OK, "serves it")
}
