//go:build lab

package lab

import "testing"

// verbsUnit is a unit with which every verb of a step does something, and verbs
// is a rule with all of them.
const (
	verbsUnit = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n"
	verbs     = `
[[rule]]
on = ["verbs"]
settle = "0s"
retry = "0s"
do = [
	"start lab-verbs.service", "restart lab-verbs.service", "try-restart lab-verbs.service", "reload lab-verbs.service",
	"reload-or-restart lab-verbs.service", "stop lab-verbs.service always", "start lab-verbs.service always",
	"signal KILL lab-verbs.service",
]
`
)

// systemdCall calls a method of systemd's, and asks nobody for a password.
const systemdCall = "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "

// What is granted is the ordinary job of a unit, whatever else systemd asks polkit
// about by the same verb: with the unit's file gone, a transient unit of its name
// would run anything as root.
func TestVerbsThatAreShared(t *testing.T) {
	onReleases(t, func(t *testing.T) {
		fresh(t, YunoHost)
		const file = "/etc/systemd/system/lab-verbs.service"
		must(t, server.WriteFile(file, verbsUnit, 0o644))
		shell(t, "systemctl daemon-reload")
		begin(t, verbs)
		undo(t, "rm -f "+file+"; systemctl stop lab-verbs.service; systemctl daemon-reload")
		if out, code := fire(t, "verbs"); code != 0 {
			t.Errorf("what is granted:\n%s", out)
		}
		shell(t, "systemctl restart lab-verbs.service")
		refuses(t, systemdCall+"FreezeUnit s lab-verbs.service")
		refuses(t, systemdCall+"ThawUnit s lab-verbs.service")
		shell(t, "systemctl stop lab-verbs.service; rm "+file+"; systemctl daemon-reload")
		refuses(t, "systemd-run --no-ask-password --unit=lab-verbs.service --wait touch /etc/evil")
		if out := shell(t, "ls /etc/evil 2>/dev/null; rm -f /etc/evil"); out != "" {
			t.Error("the daemon's user became root")
		}
	})
}

// refuses tries what must be refused to the daemon.
func refuses(t *testing.T, line string) {
	t.Helper()
	if out, well := as(t, "netwatch", line); well || !refusesAsSystem.MatchString(out) {
		t.Errorf("%s is not refused (it ended well: %v):\n%s", line, well, out)
	}
}
