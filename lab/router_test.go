//go:build lab

// The router knows first.

package lab

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	t.Cleanup(func() { must(t, errors.Join(m.Stop(), world.LinkIPv6(context.Background()))) })
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

// atLeisure is netwatch behind the router, with polls that come too rarely to be what
// finds a change.
func atLeisure(t *testing.T) {
	t.Helper()
	watching(t, strings.Replace(routed("1h"), "families", "damp = false\nfamilies", 1), RouterPublic(0))
}

// quiet is longer than the router is asked often after a hint.
const quiet = 11 * time.Second

// Whatever way the router gets another address, callers are right within a second, and
// each change restarts coturn once.
func TestRouterKnowsFirst(t *testing.T) {
	behindRouter(t, true)
	atLeisure(t)
	wait(t, time.Second) // The log is asked for by the second
	began, n := time.Now(), 0
	for _, c := range RouterChanges {
		wait(t, quiet)
		all := followsRouter(t, c, &n, 2, 20*time.Second)
		t.Logf("%s: %s", c.Name, all)
		promised(t, all, 1500*time.Millisecond)
	}
	wait(t, 5*time.Second)
	if got := restarts(t, began); got != n {
		t.Errorf("%d restarts of coturn in %d changes", got, n)
	}
	says(t, "netwatch status", "router", "192.168.50.1 says "+RouterPublic(n).String()+" since", "by nat-pmp")
	says(t, "netwatch status --json", `"router":{"gateway":"192.168.50.1","protocol":"nat-pmp"`, `"announces":true`)
	says(t, "netwatch probe", "router 192.168.50.1", "nat-pmp", RouterPublic(n).String())
	says(t, "netwatch history", "router-changed from router gateway=192.168.50.1")
	if text := shell(t, "runuser -u nobody -- netwatch status --json"); strings.Contains(text, `"router":{`) {
		t.Errorf("everybody may see what the router says: %s", text)
	}
}

// closed is a firewall of the server's that lets in callers, and what was asked for.
const closed = `table inet fw {
	chain in {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iifname "lo" accept
		udp dport { 3478, 49153-49652 } accept
	}
}
`

// Behind a firewall that lets no announcement in, the router is asked; doctor says the
// rule, which works.
func TestRouterBehindAFirewall(t *testing.T) {
	behindRouter(t, true)
	must(t, nft(t.Context(), world.Net, closed))
	t.Cleanup(func() { must(t, nft(context.Background(), world.Net, "delete table inet fw\n")) })
	atLeisure(t)
	n := 0
	for _, c := range RouterChanges {
		wait(t, quiet)
		all := followsRouter(t, c, &n, 1, 20*time.Second)
		t.Logf("%s: %s", c.Name, all)
		promised(t, all, 3*time.Second)
	}
	const rule = "nft insert rule inet fw in ip saddr 192.168.50.1 udp sport 5351 udp dport 5350 accept"
	says(t, "netwatch doctor", "lets in nothing that 192.168.50.1 announces", "hint: "+rule)
	shell(t, rule)
	must(t, errorOf(world.ChangeRouter(t.Context(), RouterChanges[0], RouterPublic(n+1), RouterPublic(n))))
	says(t, "netwatch status --json", `"announces":true`)
	if text := shell(t, "netwatch doctor || true"); strings.Contains(text, "lets in nothing") {
		t.Errorf("doctor does not see the rule:\n%s", text)
	}
}

// errorOf is the error of what also returns something else.
func errorOf(_ any, err error) error { return err }

// A router whose daemon restarts, or goes away for a while, is heard again.
func TestRouterRestartsInTheMidst(t *testing.T) {
	m := behindRouter(t, true)
	atLeisure(t)
	for n := range 3 {
		must(t, m.Stop())
		wait(t, time.Duration(n)*6*time.Second)
		passes, err := world.ChangeRouter(t.Context(), RouterChanges[n], RouterPublic(n+1), RouterPublic(n))
		must(t, err)
		must(t, m.Start(t.Context()))
		promised(t, Times{right(t, RouterPublic(n+1), RouterPublic(n+1), 20*time.Second).Sub(passes)}, 3*time.Second)
	}
}

// Without a router that answers all is as it was: polls find the change, and doctor says
// what could be switched on.
func TestNoRouterThatAnswers(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, routed(every.String()), FirstPublic)
	says(t, "netwatch status", "192.168.50.1: it tells its address neither by NAT-PMP nor by UPnP")
	says(t, "netwatch doctor", "note", "192.168.50.1: it tells its address neither", "switch NAT-PMP")
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), Public(140)))
	promised(t, Times{right(t, Public(140), Public(140), 20*time.Second).Sub(changed)}, every+settle+time.Second)
}

// processor is how long netwatch has been on a processor.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var ns int64
	const line = "cut -d ' ' -f 1 /proc/$(systemctl show --value -p MainPID netwatch.service)/task/*/schedstat"
	for _, text := range strings.Fields(shell(t, line)) {
		n, err := strconv.ParseInt(text, 10, 64)
		must(t, err)
		ns += n
	}
	return time.Duration(ns)
}

// A router that says something else with each word, and floods, changes nothing, has the
// servers asked ever more rarely, and costs next to no time.
func TestLyingRouter(t *testing.T) {
	fresh(t, YunoHost)
	liar, err := world.StartRouterLiar()
	must(t, err)
	t.Cleanup(func() { must(t, liar.Stop()) })
	watching(t, routed("1h"), FirstPublic)
	check := untouched(t, YunoHost)
	must(t, world.nft(t.Context(), "table inet asked { counter stun { }\n"+
		"chain pass { type filter hook forward priority 0; "+
		"udp dport 3478 counter name stun\n}\n}\n"))
	t.Cleanup(func() { must(t, world.nft(context.Background(), "delete table inet asked\n")) })
	const span = 40 * time.Second
	before := processor(t)
	wait(t, span)
	if took := processor(t) - before; took > span/100 {
		t.Errorf("in %s it was on a processor for %s", span, took)
	}
	check("a router that lies")
	text, err := run(t.Context(), inNet(world.Router, "nft", "list", "counter", "inet", "asked", "stun")...)
	must(t, err)
	var packets int
	_, counted, _ := strings.Cut(text, "packets")
	_, err = fmt.Sscan(counted, &packets)
	must(t, err)
	// At 0, 10 and 30 s a hint, which has five polls of three servers each at most.
	if packets == 0 || packets > 3*5*3 {
		t.Errorf("%d questions to the servers in %s", packets, span)
	}
	t.Logf("%d questions to the servers, %d to the router, in %s", packets, liar.Asked(), span)
}

// A flood from the router's own address and port costs no more than what is heard of it.
func TestFloodOfAnnouncements(t *testing.T) {
	fresh(t, YunoHost)
	liar, err := world.StartRouterLiar()
	must(t, err)
	t.Cleanup(func() { must(t, liar.Stop()) })
	must(t, ip(t.Context(), world.Router, "route replace 224.0.0.0/4 dev lan\n"))
	watching(t, routed("1h"), FirstPublic)
	check := untouched(t, YunoHost)
	const span = 20 * time.Second
	before := processor(t)
	packets := liar.Flood(span)
	took := processor(t) - before
	t.Logf("%d packets in %s: %s on a processor", packets, span, took)
	if took > span/100 {
		t.Errorf("%d packets in %s cost %s", packets, span, took)
	}
	check("a flood of announcements")
}

// A router that speaks UPnP alone is asked over that.
func TestRouterWithUPnPAlone(t *testing.T) {
	behindRouter(t, false)
	atLeisure(t)
	says(t, "netwatch status", "router", "192.168.50.1 says 192.0.1.10 since", "by upnp")
	n := 0
	for _, c := range RouterChanges {
		wait(t, quiet)
		all := followsRouter(t, c, &n, 1, 20*time.Second)
		t.Logf("%s: %s", c.Name, all)
		promised(t, all, 6*time.Second)
	}
}

// An address that several lines share has relay ports of others: doctor says which are
// ours.
func TestSharedAddress(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	if text := shell(t, "netwatch doctor || true"); strings.Contains(text, "shared") {
		t.Errorf("doctor finds an address shared that is not:\n%s", text)
	}
	must(t, world.nft(t.Context(), "flush chain ip nat out\n"+
		"add rule ip nat out oifname \"wan\" meta l4proto { tcp, udp } masquerade to :16384-32767\n"))
	t.Cleanup(func() { must(t, world.Masquerade(context.Background())) })
	says(t, "netwatch doctor", YunoHost.File+": 203.0.113.10 seems to be shared with other lines: "+
		"ours are the ports 16384 to 32767, and coturn relays from 49",
		"hint: set min-port and max-port within 16384 to 32767")
}

// init writes the section where the router answers, and only there.
func TestInitFindsTheRouter(t *testing.T) {
	m := behindRouter(t, true)
	must(t, install())
	shell(t, "rm -f /etc/netwatch/netwatch.toml")
	says(t, "netwatch init --dry-run", "router: 192.168.50.1, which says its address", "[source.router]")
	must(t, m.Stop())
	if text := shell(t, "netwatch init --dry-run"); strings.Contains(text, "[source.router]") {
		t.Errorf("init writes of a router that does not answer:\n%s", text)
	}
}

// A line that was down is asked for again soon and often: callers are right soon after it
// comes back, however rarely the servers are asked.
func TestLineThatComesBack(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, "8s"), FirstPublic)
	must(t, ip(t.Context(), world.Router, "link set wan down\n"))
	t.Cleanup(func() { must(t, world.LinkIPv6(context.Background())) })
	wait(t, 13*time.Second) // One poll at least has heard nobody.
	must(t, ip(t.Context(), world.Router, "link set wan up\n"))
	must(t, world.SetPublic(t.Context(), Public(141)))
	back := time.Now()
	promised(t, Times{right(t, Public(141), Public(141), 20*time.Second).Sub(back)}, 2500*time.Millisecond)
}
