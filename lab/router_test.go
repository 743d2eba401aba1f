//go:build lab

// The router knows first.

package lab

import (
	"strings"
	"testing"
	"time"
)

// routed is a source that asks the router, beside polls that come rarely enough not to
// be what finds a change.
func routed(every string) string {
	return configuration(YunoHost, every) + "[source.router]\n"
}

// behindRouter makes the lab one whose router has miniupnpd, and coturn right in it.
func behindRouter(t *testing.T, natpmp bool) *Miniupnpd {
	t.Helper()
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	must(t, world.RouterWorld(t.Context()))
	m, err := world.StartMiniupnpd(t.Context(), natpmp)
	must(t, err)
	t.Cleanup(func() { must(t, m.Stop()) })
	return m
}

// followsRouter changes the router's address some times in one way, and returns how long each
// time a caller was wrong.
func followsRouter(t *testing.T, c RouterChange, n *int, times int, within time.Duration) (all Times) {
	t.Helper()
	for range times {
		old, to := RouterPublic(*n), RouterPublic(*n+1)
		*n++
		passes, err := world.ChangeRouter(t.Context(), c, to, old)
		must(t, err)
		all = append(all, right(t, to, to, within).Sub(passes))
		wait(t, 500*time.Millisecond)
	}
	return all
}

// Whatever way the router gets another address, callers are right soon after.
func TestRouterKnowsFirst(t *testing.T) {
	behindRouter(t, true)
	config := strings.Replace(routed("1h"), "families", "damp = false\nfamilies", 1)
	watching(t, config, RouterPublic(0))
	n := 0
	for _, c := range RouterChanges {
		all := followsRouter(t, c, &n, 10, 20*time.Second)
		t.Logf("%s: %s", c.Name, all)
	}
}

// A router that speaks UPnP alone is asked over that.
func TestRouterWithUPnPAlone(t *testing.T) {
	behindRouter(t, false)
	config := strings.Replace(routed("1h"), "families", "damp = false\nfamilies", 1)
	watching(t, config, RouterPublic(0))
	says(t, "netwatch status", "router", "192.168.50.1 says 192.0.1.10 since", "by upnp")
	n := 0
	for _, c := range RouterChanges {
		all := followsRouter(t, c, &n, 5, 20*time.Second)
		t.Logf("%s: %s", c.Name, all)
	}
}
