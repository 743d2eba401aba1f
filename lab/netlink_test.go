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

// netlinkSettle is the window in these tests.
const netlinkSettle = 200 * time.Millisecond

// other is an IPv4 address that the server can have in place of Private.
var other = netip.MustParseAddr("192.168.50.3")

// followAddress starts netwatch with a rule for the server's own addresses. STUN,
// which is not to be what helps, looks by itself once an hour. always is what
// stands after the unit to restart.
func followAddress(t *testing.T, always string) {
	t.Helper()
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	rule := fmt.Sprintf("families = [\"ipv4\"]\n\n[source.netlink]\n\n[[rule]]\n"+
		"on = [\"started\", \"addr-changed\", \"route-changed\"]\nsettle = %q\ndo = [\"probe stun\", \"rotate coturn %s\", \"restart %s%s\"]\n",
		netlinkSettle, YunoHost.File, YunoHost.Unit, always)
	watching(t, sourceStun("1h", false)+rule, FirstPublic)
}

// setPrivate gives the server the address other in place of Private until the
// test ends.
func setPrivate(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { must(t, world.SetPrivate(context.Background(), other, Private)) })
	must(t, world.SetPrivate(t.Context(), Private, other))
}

// The server and the line get other addresses. Nothing but the kernel says so,
// and that says the first alone.
func TestBothAddressesChange(t *testing.T) {
	followAddress(t, "")
	to := Public(120)
	must(t, world.SetPublic(t.Context(), to))
	changed := time.Now()
	setPrivate(t)
	promised(t, Times{right(t, to, to, 20*time.Second).Sub(changed)}, netlinkSettle+time.Second)
}

// The server's own address alone changes: coturn.conf stays, but coturn listens
// on the addresses that there were when it started.
func TestPrivateAddressChanges(t *testing.T) {
	followAddress(t, " always")
	changed := time.Now()
	setPrivate(t)
	promised(t, Times{right(t, FirstPublic, FirstPublic, 20*time.Second).Sub(changed)}, netlinkSettle+time.Second)
}

// Five thousand changes of an address that does not matter, and then one that
// does: it is seen, and coturn is not restarted for each of the others.
func TestAddressStorm(t *testing.T) {
	followAddress(t, " always")
	must(t, ip(t.Context(), world.Net, "link add storm0 type veth peer name storm1\nlink set storm0 up\nlink set storm1 up\n"))
	t.Cleanup(func() { must(t, ip(context.Background(), world.Net, "link del storm0\n")) })
	var storm strings.Builder
	for i := range 2500 {
		a := fmt.Sprintf("10.%d.%d.1/32 dev storm0", i/250, i%250)
		storm.WriteString("addr add " + a + "\naddr del " + a + "\n")
	}
	events := strings.Count(shell(t, "netwatch history"), "addr-changed")
	must(t, ip(t.Context(), world.Net, storm.String()))
	changed := time.Now()
	setPrivate(t)
	promised(t, Times{right(t, FirstPublic, FirstPublic, 20*time.Second).Sub(changed)}, netlinkSettle+time.Second)
	events = strings.Count(shell(t, "netwatch history"), "addr-changed") - events
	if t.Logf("%d events", events); events > 100 {
		t.Error("the storm is one of events too")
	}
}

// A unit whose sandbox forbids netlink says so, and what to do.
func TestNetlinkForbidden(t *testing.T) {
	dir := "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/forbid.conf", "[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n", 0o644))
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c", "rm -r "+dir+" && systemctl daemon-reload")
		must(t, err)
	})
	shell(t, "systemctl daemon-reload")
	followAddress(t, "")
	if log := shell(t, "netwatch history"); !strings.Contains(log, "RestrictAddressFamilies= of the unit must have AF_NETLINK") {
		t.Errorf("history has no remedy:\n%s", log)
	}
}
