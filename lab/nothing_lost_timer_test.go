//go:build lab

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// TestTimerMissed holds, in a zone that is half an hour beside others: a time that came
// while the daemon was stopped is made up for once, within a minute of the start, and not
// again at the next; and each of the two rules hears of its own times alone.
func TestTimerMissed(t *testing.T) {
	must(t, install())
	shell(t, "systemctl stop netwatch.socket netwatch.service; rm -rf /var/lib/netwatch; "+
		"ln -sf /usr/share/zoneinfo/Australia/Adelaide /etc/localtime")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c",
			"systemctl stop netwatch.socket netwatch.service; ln -sf /usr/share/zoneinfo/UTC /etc/localtime")
		must(t, err)
	})
	zone, err := time.LoadLocation("Australia/Adelaide")
	must(t, err)
	due := time.Now().In(zone).Add(4 * time.Second).Truncate(time.Minute).Add(time.Minute)
	begin(t, fmt.Sprintf(`[source.timer]
at = [%q, %q]
[[rule]]
on = ["due"]
match = { at = %[2]q }
do = ["exec /bin/echo weekly"]
[[rule]]
on = ["due"]
match = { at = %[1]q }
do = ["exec /bin/echo daily"]
`, due.Add(-time.Hour).Format("15:04"), due.Format("Mon 15:04")))
	says(t, "netwatch status", "next: "+due.Format("Mon 15:04")+", on "+due.Format("2006-01-02 15:04"))
	shell(t, "systemctl stop netwatch.socket netwatch.service")
	pass(t, time.Until(due.Add(2*time.Second)))
	want := []string{due.Format("Mon 15:04")}
	for range 2 {
		began := time.Now()
		shell(t, "systemctl start netwatch.service")
		pass(t, 35*time.Second)
		got := dues(t, began)
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("due was told of %q, want %q", got, want)
		}
		want = nil
		shell(t, "systemctl stop netwatch.socket netwatch.service")
	}
}

// pass waits.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// dues are the times of which due was told since then, by the history, and whose rule ran.
func dues(t *testing.T, since time.Time) (all []string) {
	t.Helper()
	ran := 0
	for line := range strings.Lines(shell(t, "netwatch history --json")) {
		var e netwatch.Entry
		must(t, json.Unmarshal([]byte(line), &e))
		switch {
		case e.Event != netwatch.Due || e.Time.Before(since):
		case e.Kind == netwatch.EntryEvent:
			all = append(all, e.Fields["at"])
		case e.Kind == netwatch.EntryStep && e.Detail == "weekly":
			ran++
		case e.Kind == netwatch.EntryStep:
			t.Errorf("it did %s", e.Step)
		}
	}
	if ran != len(all) {
		t.Errorf("of %q, %d were heeded", all, ran)
	}
	return all
}
