//go:build lab

// 5. Done means working.

package lab

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// verifying starts netwatch, which knows the addresses of these families and
// has a rule that does nothing but to verify a coturn when it is fired, with options.
func verifying(t *testing.T, c Coturn, families string, options ...string) {
	t.Helper()
	config := sourceStun("1h", true) + fmt.Sprintf("families = [%s]\n", families) +
		fmt.Sprintf("\n[[rule]]\non = [\"verify\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"verify turn %s\"]\n",
			strings.Join(append([]string{c.File}, options...), " "))
	watching(t, config, FirstPublic)
}

// verify fires the rule, and wants an exit code and texts in what it prints.
func verify(t *testing.T, code int, want ...string) {
	t.Helper()
	out, got := fire(t, "verify")
	if got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	if strings.Contains(out, Secret) || strings.Contains(out, "p4ssword") {
		t.Errorf("it tells a secret:\n%s", out)
	}
}

// writeCoturn writes coturn's file and leaves the coturn that runs alone.
func writeCoturn(t *testing.T, c Coturn, conf string) {
	t.Helper()
	must(t, server.WriteFile(c.File, conf, 0o640))
}

// restartCoturn restarts coturn with another file.
func restartCoturn(t *testing.T, c Coturn, conf string) {
	t.Helper()
	writeCoturn(t, c, conf)
	shell(t, "systemctl restart "+c.Unit)
}

// wellKnown is what a good step says of the lab's IPv4 address.
const wellKnown = "unchanged: ipv4 203.0.113.10 ("

func TestVerify(t *testing.T) {
	for _, c := range []Coturn{YunoHost, Debian} {
		t.Run(c.Unit, func(t *testing.T) {
			fresh(t, c)
			unlimited(t, c.Unit)
			verifying(t, c, `"ipv4"`)
			verify(t, 0, wellKnown)
			restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2"))
			verify(t, 0, wellKnown)
			restartCoturn(t, c, CoturnConf("203.0.113.99"))
			verify(t, 1, "192.168.50.2:3478 (udp) relays over 203.0.113.99, and the public address is 203.0.113.10",
				"hint: external-ip in "+c.File+" does not have it")
			writeCoturn(t, c, CoturnConf("203.0.113.10"))
			verify(t, 1, "relays over 203.0.113.99",
				"has the right external-ip, which coturn reads only when it starts: restart it")
			restartCoturn(t, c, CoturnConf(""))
			verify(t, 1, "relays over 0.0.0.0", "is empty")
			restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.77"))
			verify(t, 1, "relays over 192.168.50.2, and the public address is 203.0.113.10", "private=auto")
		})
	}
}

func TestVerifyCredentials(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4"`)
	right := CoturnConf("203.0.113.10")
	writeCoturn(t, c, strings.Replace(right, Secret, "another", 1))
	verify(t, 1, "it answered 401 Unauthorized to the credentials of "+c.File,
		"hint: it runs with others than are in the file now: restart it")
	restartCoturn(t, c, right+"\nstatic-auth-secret=another\n")
	verify(t, 0, wellKnown)
	writeCoturn(t, c, right+"\nstatic-auth-secret=another\nstatic-auth-secret=a third\n")
	verify(t, 1, "401")

	user := func(user string) string {
		return strings.Replace(right, "use-auth-secret\nstatic-auth-secret="+Secret, "lt-cred-mech\nuser="+user, 1)
	}
	for _, with := range []string{"alice:p4ssword", "alice:0x5b81d66831d33a7abcef8b8e7d3f4389"} {
		restartCoturn(t, c, user(with))
		verify(t, 0, wellKnown)
	}
	writeCoturn(t, c, user("alice:0x00000000000000000000000000000000"))
	verify(t, 1, "401")
	restartCoturn(t, c, strings.Replace(right, "static-auth-secret="+Secret, "rest-api-separator=_\nstatic-auth-secret="+
		Secret+"\nuser-quota=1\ntotal-quota=1", 1))
	verify(t, 0, wellKnown)
	// What it took is given back, though coturn counts it for a second more.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		if out, code := fire(t, "verify"); code != 0 {
			return errors.New(out)
		}
		return nil
	}))
}

// A coturn that cannot read its file, or has none of the credentials in it, lends
// relays to everyone; one that is down lends none.
func TestVerifyOpenOrDown(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4"`)
	shell(t, "setfacl -x u:turnserver "+c.File+" && systemctl restart "+c.Unit)
	verify(t, 1, "it lends relays to everyone who asks, without credentials: another server answers there, "+
		"or it runs without its configuration",
		"; or see that its user can read "+c.File)
	restartCoturn(t, c, "external-ip=203.0.113.10\nno-cli\n")
	verify(t, 1, "it lends relays to everyone")
	shell(t, "systemctl stop "+c.Unit)
	verify(t, 1, "nobody answers at 192.168.50.2:3478 (udp): connection refused", "hint: see whether its unit runs")
}

// Two families are right when each caller gets the address of his own; plain
// lines are not (facts of coturn 4.6.1).
func TestVerifyBothFamilies(t *testing.T) {
	c := Debian
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4", "ipv6"`, "families=ipv4,ipv6")
	named := "\nlistening-ip=192.168.50.2\nlistening-ip=2001:db8:50::2\n"
	restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2", "2001:db8:50::2/2001:db8:50::2")+named)
	verify(t, 0, "unchanged: ipv4 203.0.113.10 (udp, tcp), ipv6 2001:db8:50::2 (udp) (")
	restartCoturn(t, c, CoturnConf("203.0.113.10", "2001:db8:50::2")+named)
	verify(t, 1, "verifying coturn", "relays over 203.0.113.10, and the public address is 2001:db8:50::2")
	one := CoturnConf("203.0.113.10") + "\nlistening-ip=192.168.50.2\nrelay-ip=192.168.50.2\n"
	restartCoturn(t, c, one)
	writeCoturn(t, c, one+"relay-ip=2001:db8:50::2\n")
	verify(t, 1, "it answered 440", "it has no ipv6 relay, though relay-ip or listening-ip in "+c.File+
		" names an address for it: restart it")
	restartCoturn(t, c, one)
	verify(t, 0, "unchanged: ipv4 203.0.113.10 (udp, tcp), no ipv6 relay: "+
		"neither relay-ip nor listening-ip names such an address (")
}

// The step comes right after the restart, and is one of the rule.
func TestVerifyAfterRestart(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	config := strings.TrimSuffix(configuration(c, "1h"), "]\n") + fmt.Sprintf(", \"verify turn %s\"]\n", c.File)
	watching(t, config, FirstPublic)
	for i := range 3 {
		to := Public(60 + i)
		must(t, world.SetPublic(t.Context(), to))
		out, code := fire(t, "ip-changed")
		if code != 0 || !strings.Contains(out, "verify turn "+c.File+": unchanged: ipv4 "+to.String()) {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		t.Logf("%s", out)
	}
}

// units are what a step may meet.
var units = map[string]string{
	"ok":        "ExecStart=/bin/sleep infinity",
	"dies":      "Type=simple\nExecStart=/bin/false",
	"forbidden": "ExecStart=/bin/sleep infinity",
	"condition": "ExecStart=/bin/sleep infinity\n[Unit]\nConditionPathExists=/nonexistent",
	"limit":     "ExecStart=/bin/sleep infinity\n[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=3s",
	"toooften":  "ExecStart=/bin/sleep infinity\n[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1h",
	// It says that it reloads, and never that it has.
	"hangs": "Type=notify\nNotifyAccess=all\n" +
		"ExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep infinity'\n" +
		"ExecReload=/bin/sh -c 'systemd-notify RELOADING=1; sleep 0.2'",
}

// polkitRule permits the user netwatch everything with lab-*.service but
// lab-forbidden.service.
const polkitRule = `polkit.addRule(function(action, subject) {
	if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "netwatch" &&
	    /^lab-[a-z]+\.service$/.test(action.lookup("unit")) && action.lookup("unit") != "lab-forbidden.service") {
		return polkit.Result.YES;
	}
});
`

// userUnit runs netwatch as an ordinary user, beside the installed one.
const userUnit = `[Service]
Type=notify
User=netwatch
ExecStart=/usr/bin/netwatch run -c /etc/netwatch/units.toml
RuntimeDirectory=netwatch-user
StateDirectory=netwatch-user
`

const userDaemon = `[daemon]
socket = "/run/netwatch-user/sock"
state = "/var/lib/netwatch-user"
`

// A unitCase is a step, and what it answers.
type unitCase struct {
	event, step string
	// first is done in the server before.
	first string
	// says is a pattern of what fire prints; a failure must have a hint.
	says string
	well bool
}

var unitCases = []unitCase{
	{event: "permitted", step: "restart lab-ok.service", says: `restart lab-ok\.service: changed`, well: true},
	{event: "no-rule", step: "restart lab-forbidden.service", says: `hint:.*polkit rule.*lab-forbidden\.service.*restart`},
	{
		event: "masked", step: "restart lab-masked.service",
		says: `masked[^\n]*\n.*hint:.*systemctl unmask lab-masked\.service`,
	},
	{event: "not-found", step: "restart lab-okay.service", says: `no such unit[^\n]*\n.*hint:.*lab-ok\.service`},
	{event: "no-reload", step: "reload lab-ok.service", says: `hint:.*ExecReload`},
	{
		event: "no-end", step: "reload lab-hangs.service", first: "systemctl restart lab-hangs.service",
		says: `no end in time[^\n]*\n.*hint:.*READY=1`,
	},
	{
		event: "dies", step: "restart lab-dies.service",
		says: `job is done, but[^\n]*\n.*hint:.*journalctl -u lab-dies\.service`,
	},
	{event: "condition", step: "restart lab-condition.service", says: `condition[^\n]*\n.*hint:.*lab-condition\.service`},
	// A unit that was left failed is started once systemd lets it.
	{
		event: "limit", step: "restart lab-limit.service", first: thrice("limit"),
		says: `: held: (?s:.*) restart lab-limit\.service: changed`, well: true,
	},
	// Of others' starts systemd tells the last alone: netwatch cannot foresee this.
	{
		event: "too-often", step: "restart lab-toooften.service", first: thrice("toooften"),
		says: `start-limit-hit[^\n]*\n.*hint:.*started too often`,
	},
}

// thrice restarts a unit by another hand.
func thrice(name string) string {
	return "for i in 1 2 3; do systemctl restart lab-" + name + ".service; done; true"
}

// userConfig has a rule for each case, which is not tried twice.
func userConfig() string {
	var b strings.Builder
	b.WriteString(userDaemon)
	for _, c := range unitCases {
		fmt.Fprintf(&b, "\n[[rule]]\non = [%q]\ndo = [%q]\nsettle = \"0s\"\ntimeout = \"3s\"\nretry = \"0s\"\n", c.event,
			c.step)
	}
	return b.String()
}

// unprivileged installs the units and starts netwatch as its own user.
func unprivileged(t *testing.T) {
	t.Helper()
	must(t, install())
	files := map[string]string{
		"/etc/polkit-1/rules.d/50-lab.rules":        polkitRule,
		"/etc/netwatch/units.toml":                  userConfig(),
		"/etc/systemd/system/netwatch-user.service": userUnit,
	}
	for name, text := range units {
		files["/etc/systemd/system/lab-"+name+".service"] = "[Service]\n" + text + "\n"
	}
	for path, content := range files {
		must(t, server.WriteFile(path, content, 0o644))
	}
	shell(t, "ln -sfn /dev/null /etc/systemd/system/lab-masked.service; systemctl daemon-reload; "+
		"systemctl restart polkit.service netwatch-user.service")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "systemctl", "stop", "netwatch-user.service"); err != nil {
			t.Error(err)
		}
	})
}

// check fires the event of a case and looks at the answer.
func (c unitCase) check(t *testing.T) {
	t.Helper()
	if c.first != "" {
		shell(t, c.first)
	}
	out, code := fire(t, "-c", "/etc/netwatch/units.toml", c.event)
	if want := map[bool]int{true: 0, false: 1}[c.well]; code != want {
		t.Errorf("it exits %d, want %d", code, want)
	}
	if !regexp.MustCompile(c.says).MatchString(out) {
		t.Errorf("it does not say %s", c.says)
	}
	if t.Failed() {
		t.Logf("it said:\n%s", out)
	}
}

func TestUnitsAsAnOrdinaryUser(t *testing.T) {
	unprivileged(t)
	for _, c := range unitCases {
		t.Run(c.event, c.check)
	}
	t.Run("no polkit", func(t *testing.T) {
		shell(t, "systemctl mask polkit.service; systemctl stop polkit.service")
		t.Cleanup(func() {
			_, err := server.Exec(context.Background(), "sh", "-c",
				"systemctl unmask polkit.service; systemctl start polkit.service")
			if err != nil {
				t.Error(err)
			}
		})
		unitCase{event: "permitted", says: `hint:.*systemctl unmask polkit\.service`}.check(t)
	})
}

// forgedSignal has an ordinary user tell everyone on the bus that the job of
// lab-slow.service has failed.
const forgedSignal = `for name in $(busctl list --unique --no-legend | awk '{ print $1 }'); do
	runuser -u nobody -- dbus-send --system --type=signal --dest=$name \
		/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager.JobRemoved uint32:1 \
		objpath:/org/freedesktop/systemd1/job/$(systemctl list-jobs --no-legend lab-slow.service | awk '{ print $1 }') \
		string:lab-slow.service string:failed
done`

// A job goes on while systemd executes itself anew, reads all units again, or the
// bus is restarted, or while a stranger says that it has failed; the step waits for it
// all the same, and its end is told.
func TestBusAndSystemdRestartInAJob(t *testing.T) {
	fresh(t, YunoHost)
	must(t, server.WriteFile("/etc/systemd/system/lab-slow.service",
		"[Service]\nExecStartPre=/bin/sleep 1.5\nExecStart=/bin/sleep infinity\n", 0o644))
	shell(t, "systemctl daemon-reload")
	undo(t, "systemctl stop lab-slow.service")
	watching(t, configuration(YunoHost, "1h")+
		"\n[[rule]]\non = [\"slow\", \"started\"]\nsettle = \"0s\"\ndo = [\"restart lab-slow.service\"]\n", FirstPublic)
	for _, fault := range []string{
		"systemctl daemon-reexec", "systemctl daemon-reload",
		"systemctl restart dbus.service", forgedSignal,
	} {
		before := incarnation(t, "lab-slow.service")
		var out strings.Builder
		fire := server.Command(t.Context(), "netwatch", "fire", "--timeout", "20s", "slow")
		fire.Stdout, fire.Stderr = &out, &out
		must(t, fire.Start())
		says(t, "systemctl show -p ActiveState lab-slow.service", "ActiveState=activating")
		shell(t, fault)
		if err := fire.Wait(); err != nil || !strings.Contains(out.String(), "restart lab-slow.service: changed") {
			t.Errorf("%s: %v:\n%s", fault, err, out.String())
		}
		if now := incarnation(t, "lab-slow.service"); now == before {
			t.Errorf("%s: the unit was not restarted", fault)
		}
	}
}
