//go:build lab

package lab

import (
	"strings"
	"testing"
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
