//go:build lab

package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

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
	{event: "masked", step: "restart lab-masked.service", says: `masked[^\n]*\n.*hint:.*systemctl unmask lab-masked\.service`},
	{event: "not-found", step: "restart lab-okay.service", says: `no such unit[^\n]*\n.*hint:.*lab-ok\.service`},
	{event: "no-reload", step: "reload lab-ok.service", says: `hint:.*ExecReload`},
	{event: "no-end", step: "reload lab-hangs.service", first: "systemctl restart lab-hangs.service", says: `no end in time[^\n]*\n.*hint:.*READY=1`},
	{event: "dies", step: "restart lab-dies.service", says: `job is done, but[^\n]*\n.*hint:.*journalctl -u lab-dies\.service`},
	{event: "condition", step: "restart lab-condition.service", says: `condition[^\n]*\n.*hint:.*lab-condition\.service`},
	// A unit that was left failed is started once systemd lets it.
	{event: "limit", step: "restart lab-limit.service", first: thrice("limit"), says: `: held: (?s:.*) restart lab-limit\.service: changed`, well: true},
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
		fmt.Fprintf(&b, "\n[[rule]]\non = [%q]\ndo = [%q]\nsettle = \"0s\"\ntimeout = \"3s\"\nretry = \"0s\"\n", c.event, c.step)
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
	shell(t, "ln -sfn /dev/null /etc/systemd/system/lab-masked.service; systemctl daemon-reload; systemctl restart polkit.service netwatch-user.service")
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
			_, err := server.Exec(context.Background(), "sh", "-c", "systemctl unmask polkit.service; systemctl start polkit.service")
			if err != nil {
				t.Error(err)
			}
		})
		unitCase{event: "permitted", says: `hint:.*systemctl unmask polkit\.service`}.check(t)
	})
}
