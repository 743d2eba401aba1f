//go:build lab

// What a machine tells that is no address: events that a user made up, and what comes of
// telling each other the same.

package lab

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An event that a user made up is told like any other, and matched by its name elsewhere;
// what it says is bounded.
func TestMadeUpEventIsTold(t *testing.T) {
	brokered(t, "turn", "outside")
	watching(t, configuration(YunoHost, "1h")+connecting("turn", Private, "/etc/netwatch")+`
[[rule]]
name = "heeds"
on = ["peer-changed"]
match = { told = "backup-done" }
do = ["exec /bin/echo {new} came"]
`, FirstPublic)
	outside := newMachine(t, "outside", world.Inet, Public6, `
[[rule]]
on = ["backup-done", "other"]
do = ["tell"]
`)
	outside.says(t, "status", "peer turn", "here since")
	says(t, "netwatch status", "peer outside", "here since")
	long := strings.Repeat("n", 256)
	outside.says(t, "fire backup-done old=x new="+long+long+" note=nobody", "tell: changed: the broker has it")
	says(t, "netwatch history", "peer-changed from mqtt new="+long+" old=x peer=outside told=backup-done")
	outside.says(t, "fire other", "tell: changed")
	says(t, "netwatch history", "peer=outside told=other")
	history := shell(t, "netwatch history")
	if strings.Count(history, "heeds: run") != 1 || strings.Contains(history, "nobody") {
		t.Errorf("what was told:\n%s", history)
	}
}

// Two machines that tell each other what the other told, by way of a program, which no check
// sees, go round no faster than each hears of the other: once in two seconds.
func TestTellingGoesRoundSlowly(t *testing.T) {
	brokered(t, "one", "two")
	text := fmt.Sprintf(`
[[rule]]
on = ["mark"]
settle = "0s"
do = ["tell"]
[[rule]]
on = ["peer-changed"]
do = ["exec %s -c {config} fire --no-wait mark"]
`, server.path("/usr/bin/netwatch"))
	var all []*machine
	for name, namespace := range map[string]string{"one": world.Router, "two": world.Net} {
		m := newMachine(t, name, namespace, Private, "[source.netlink]\n[[rule]]\non = [\"mark\"]\ndo = [\"tell\"]\n")
		must(t, m.stop(syscall.SIGTERM))
		before, err := os.ReadFile(m.config)
		must(t, err)
		head, _, _ := strings.Cut(string(before), "[[rule]]")
		must(t, os.WriteFile(m.config, []byte(head+strings.ReplaceAll(text, "{config}", m.config)), 0o600))
		m.start(t)
		all = append(all, m)
	}
	all[0].says(t, "status", "peer "+all[1].name, "here since")
	all[0].says(t, "fire mark", "tell: changed")
	wait(t, 20*time.Second)
	for _, m := range all {
		out, err := run(t.Context(), server.path("/usr/bin/netwatch"), "-c", m.config, "history", "--event", "peer-changed")
		must(t, err)
		n := strings.Count(out, "told=mark")
		t.Logf("%s heard it %d times in 20 s", m.name, n)
		if n < 4 || n > 11 {
			t.Errorf("%s heard %d times in 20 s what it had told itself", m.name, n)
		}
	}
}
