//go:build lab

// 5. Done means working: what is asked while the bus or systemd begins anew.

package lab

import (
	"strconv"
	"strings"
	"testing"
)

// countedUnit counts how often it is started.
const countedUnit = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStartPre=/bin/sh -c 'echo >>/run/lab-starts'\n" +
	"ExecStart=/bin/sleep infinity\n"

// A step that asks just while systemd executes itself anew, or while the bus begins
// anew, asks again, and has nothing done twice.
func TestBusAndSystemdRestartBeforeAJob(t *testing.T) {
	onReleases(t, func(t *testing.T) {
		fresh(t, YunoHost)
		must(t, server.WriteFile("/etc/systemd/system/lab-counted.service", countedUnit, 0o644))
		unlimited(t, "dbus.service")
		undo(t, "systemctl stop lab-counted.service; rm -f /run/lab-starts")
		watching(t, configuration(YunoHost, "1h")+"\n[[rule]]\non = [\"count\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = "+
			"[\"restart lab-counted.service always\"]\n", FirstPublic)
		for _, fault := range []string{"systemctl daemon-reexec", "systemctl restart dbus.service"} {
			for _, after := range []string{"0", "0.003", "0.006", "0.01", "0.015", "0.02", "0.03", "0.05", "0.1"} {
				shell(t, ": >/run/lab-starts")
				out := shell(t, fault+" & sleep "+after+"; netwatch fire --timeout 30s count 2>&1; wait")
				starts := shell(t, "wc -l </run/lab-starts")
				if n, _ := strconv.Atoi(starts); n != 1 || !strings.Contains(out, "restart lab-counted.service always: changed") {
					t.Errorf("%s, and %s s later: started %s times, and it says\n%s", fault, after, starts, out)
				}
			}
		}
	})
}

// Of a polkit that is masked each kind of bus says something else; the remedy is one.
func TestPolkitMaskedUnderBroker(t *testing.T) {
	leave, err := moveIn(t.Context(), Here)
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	fresh(t, YunoHost)
	must(t, server.UseBroker(t.Context()))
	t.Log(shell(t, "busctl status org.freedesktop.DBus 2>&1 | head -5; ps -C dbus-broker -o args="))
	watching(t, configuration(YunoHost, "1h")+"\n[[rule]]\non = [\"go\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = "+
		"[\"try-restart "+YunoHost.Unit+" always\"]\n", FirstPublic)
	if out, code := fire(t, "go"); code != 0 {
		t.Fatalf("it ends with %d:\n%s", code, out)
	}
	shell(t, "systemctl mask polkit.service; systemctl stop polkit.service")
	out, code := fire(t, "go")
	const hint = "hint: polkit is masked and cannot permit it: systemctl unmask polkit.service"
	if code != 1 || !strings.Contains(out, hint) {
		t.Errorf("with polkit masked it ends with %d:\n%s", code, out)
	}
	shell(t, "systemctl unmask polkit.service")
	if out, code := fire(t, "go"); code != 0 {
		t.Errorf("after the remedy it ends with %d:\n%s", code, out)
	}
}
