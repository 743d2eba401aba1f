//go:build lab

package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// upgrade rewrites coturn.conf in place and restarts coturn, as an upgrade of
// the app does, and returns when that began.
func upgrade(t *testing.T, externalIP string) time.Time {
	t.Helper()
	must(t, server.WriteFile("/var/lib/lab-new/coturn.conf", CoturnConf(externalIP), 0o644))
	began := time.Now()
	shell(t, "cat /var/lib/lab-new/coturn.conf >"+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	return began
}

// What an upgrade of the app put back is put right again, and what netwatch
// itself writes is not news to it.
func TestRewrittenFileIsPutRight(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, fmt.Sprintf(`%s
[source.file]
files = [%q]

[[rule]]
on = ["started", "ip-changed", "file-changed"]
do = ["rotate coturn %[2]s", "restart %s"]
`, sourceStun(every.String(), false)+`families = ["ipv4"]`, YunoHost.File, YunoHost.Unit), FirstPublic)
	news := follow(t)
	var times Times
	for i, externalIP := range []string{"198.51.100.9", "", "198.51.100.9", ""} {
		began := upgrade(t, externalIP) // By now coturn gives out the wrong address.
		times = append(times, right(t, FirstPublic, FirstPublic, 10*time.Second).Sub(began))
		runs, err := news.wait(t.Context(), i+1, ended(netwatch.FileChanged))
		must(t, err)
		if runs[i].Outcome != netwatch.Changed {
			t.Errorf("external-ip=%s: the run was %s", externalIP, runs[i].Outcome)
		}
		if got := shell(t, "cat "+YunoHost.File); got != CoturnConf(FirstPublic.String()) {
			t.Errorf("after external-ip=%s coturn.conf is:\n%s", externalIP, got)
		}
	}
	promised(t, times, time.Second)
	rewritten, _, _ := news.all(aboutFile(netwatch.FileChanged, YunoHost.File))

	to := Public(70)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 20*time.Second)
	wait(t, 4*settle) // In which netwatch would find what it wrote.
	idle(t, to)
	all, _, _ := news.all(aboutFile(netwatch.FileChanged, YunoHost.File))
	if len(rewritten) != len(times) || len(all) != len(times) {
		t.Errorf("%d rewrites are %d events, and %d once netwatch has written", len(times), len(rewritten), len(all))
	}
	if log := shell(t, "netwatch history"); strings.Count(log, "file-changed from") != len(times) {
		t.Errorf("the history is:\n%s", log)
	}
}
