//go:build lab

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// untouched remembers coturn's process and file and returns a function that
// fails when either has been touched since.
func untouched(t *testing.T, c Coturn) func(after string) {
	t.Helper()
	present := func() string {
		return incarnation(t, c.Unit) + "\n" + shell(t, "stat -c '%i %y %z' "+c.File+"; cat "+c.File)
	}
	before := present()
	return func(after string) {
		t.Helper()
		if now := present(); now != before {
			t.Errorf("after %s coturn was touched:\n%s\nwas\n%s", after, now, before)
		}
	}
}

func TestNothingChangedRestartsNothing(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	check := untouched(t, YunoHost)
	shell(t, "systemctl restart netwatch.service")
	idle(t, FirstPublic)
	check("a restart of netwatch")
	shell(t, "systemctl kill --kill-whom=main -s KILL netwatch.service; systemctl restart netwatch.service")
	idle(t, FirstPublic)
	check("a crash of netwatch")
	out, code := fire(t, "ip-changed")
	check("an event fired for nothing")
	if code != 0 || !strings.Contains(out, ": unchanged") || !strings.Contains(out, ": skipped") {
		t.Errorf("netwatch fire exits %d:\n%s", code, out)
	}
}

// lie puts liars in the place of some STUN servers.
func lie(t *testing.T, says netip.Addr, servers ...int) []*Liar {
	t.Helper()
	var liars []*Liar
	for _, n := range servers {
		must(t, stuns[n].Stop())
		liar, err := world.StartLiar(n, says)
		must(t, err)
		t.Cleanup(func() { _ = liar.Stop() })
		liars = append(liars, liar)
	}
	return liars
}

// heard waits until every liar has been asked n times.
func heard(t *testing.T, liars []*Liar, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, liar := range liars {
		must(t, until(ctx, 20*time.Millisecond, func() error {
			if asked := liar.Asked(); asked < n {
				return fmt.Errorf("a liar was asked %d times", asked)
			}
			return nil
		}))
	}
	wait(t, 2*settle) // In which what was believed would be acted on.
}

func TestFalseAnswersChangeNothing(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	check := untouched(t, YunoHost)
	for _, c := range []struct {
		name  string
		says  netip.Addr
		liars []int
		dead  []int
	}{
		{"one server that lies", Public(90), []int{2}, nil},
		{"one server that lies and no other", Public(90), []int{2}, []int{0, 1}},
		{"a private address from all", Private, []int{0, 1, 2}, nil},
		{"a carrier's address from all", netip.MustParseAddr("100.64.0.7"), []int{0, 1, 2}, nil},
		{"a loopback address from all", netip.MustParseAddr("127.0.0.1"), []int{0, 1, 2}, nil},
		{"no address from all", netip.MustParseAddr("0.0.0.0"), []int{0, 1, 2}, nil},
	} {
		liars := lie(t, c.says, c.liars...)
		for _, n := range c.dead {
			must(t, stuns[n].Stop())
		}
		heard(t, liars, 3)
		_, _ = fire(t, "ip-changed") // Whether that is a failure is not the point here.
		check(c.name)
		for _, liar := range liars {
			must(t, liar.Stop())
		}
		for _, n := range append(c.liars, c.dead...) {
			must(t, stuns[n].Start(t.Context()))
		}
	}
	for _, s := range stuns {
		must(t, s.Stop())
	}
	_, _ = fire(t, "ip-changed")
	wait(t, 2*time.Second)
	check("an end of all servers")

	for _, s := range stuns { // It was awake all the time.
		must(t, s.Start(t.Context()))
	}
	must(t, world.SetPublic(t.Context(), Public(91)))
	right(t, Public(91), Public(91), 10*time.Second)
}

func TestTwoLiarsAreBelieved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	lie(t, Public(92), 1, 2)
	right(t, FirstPublic, Public(92), 10*time.Second)
}
