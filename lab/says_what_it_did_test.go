//go:build lab

package lab

import (
	"strings"
	"testing"
	"time"
)

// What an event led to is found in the journal by its id, each line with its
// priority.
func TestJournalFields(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h")+"\n[[rule]]\non = [\"broken\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"exec /bin/false\"]\n", FirstPublic)
	out, code := fire(t, "broken")
	if code != 1 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	id := strings.Fields(out)[1]
	lines := shell(t, "journalctl -b -o cat -u netwatch.service NETWATCH_ID="+id)
	if n := strings.Count(lines, `"id":"`+id+`"`); n < 3 {
		t.Errorf("%d lines of event, step and run:\n%s", n, lines)
	}
	if bad := shell(t, "journalctl -b -o cat -p err -u netwatch.service NETWATCH_RULE=broken NETWATCH_STEP='exec /bin/false'"); !strings.Contains(bad, `"outcome":"failed"`) {
		t.Errorf("errors:\n%s", bad)
	}
}

// noise is a rule whose event makes lines in the log, and nothing else.
const noise = `
[[rule]]
on = ["noise"]
settle = "0s"
do = ["exec /bin/true"]
`

// journalUnits are journald and what would start it.
const journalUnits = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket " +
	"systemd-journald.service"

// follows wants netwatch, the same process as before, to follow a change of the
// address in the usual time.
func follows(t *testing.T, n int) {
	t.Helper()
	before := show(t, "netwatch.service", "MainPID")
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), Public(n)))
	promised(t, Times{right(t, Public(n), Public(n), 10*time.Second).Sub(changed)}, every+settle+200*time.Millisecond)
	if now := show(t, "netwatch.service", "MainPID"); now != before {
		t.Errorf("netwatch was process %s and is %s", before, now)
	}
}

// A journald that stands still holds up nothing. What was too much for it is
// counted, and that is said.
func TestJournalStandsStill(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	// coturn itself waits for a journald that does not read its syslog.
	shell(t, "sed -i 's/^syslog$/log-file=stdout/' "+YunoHost.File+"; systemctl restart "+YunoHost.Unit)
	watching(t, configuration(YunoHost, every.String())+noise, FirstPublic)
	log := logSince(t)
	shell(t, "systemctl kill --kill-whom=main -s STOP systemd-journald.service")
	undo(t, "systemctl kill --kill-whom=main -s CONT systemd-journald.service")
	out, err := server.Exec(t.Context(), "timeout", "60", "sh", "-c",
		"for i in $(seq 1200); do netwatch fire --no-wait noise; done 2>&1 | grep -v accepted")
	if out != "" {
		t.Errorf("firing (%v): %s", err, out)
	}
	follows(t, 80)
	follows(t, 81)
	shell(t, "systemctl kill --kill-whom=main -s CONT systemd-journald.service; netwatch fire noise")
	says(t, log, `"lost":`, `"message":"the log has not taken so many lines"`)
}

// Nor does one that is gone, with its sockets or by a crash, and what comes later
// is logged.
func TestJournalGone(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, every.String())+noise, FirstPublic)
	shell(t, "systemctl stop "+journalUnits+" 2>&1")
	undo(t, "systemctl start "+journalUnits)
	follows(t, 82)
	shell(t, "systemctl start "+journalUnits)
	shell(t, "systemctl kill --kill-whom=main -s KILL systemd-journald.service")
	follows(t, 83)
	log := logSince(t)
	shell(t, "netwatch fire noise")
	says(t, log, `"event":"noise"`)
}
