package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// RouterPublic is one of 200 public addresses for a router with miniupnpd, which knows
// the documentation ranges and calls them reserved: these look like real ones.
func RouterPublic(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("192.0.1.%d", 10+n%200)) }

// A Miniupnpd is a real router's NAT-PMP and UPnP, which can be stopped and started
// again.
type Miniupnpd struct {
	lab     *Lab
	conf    string
	process *process
}

// miniupnpdConf is for the lab's router; it has whether NAT-PMP is on.
const miniupnpdConf = `ext_ifname=wan
listening_ip=lan
enable_natpmp=%s
enable_upnp=yes
secure_mode=yes
http_port=5000
uuid=7e30d5a2-58b7-4c1d-9a53-6d3b3b7b5f11
upnp_table_name=upnp
upnp_nat_table_name=upnp
allow 1024-65535 192.168.50.0/24 1024-65535
`

// miniupnpdTable is where it would put what it opens.
const miniupnpdTable = `table inet upnp {
	chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
	chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
	chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
	chain miniupnpd { }
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
}
`

// StartMiniupnpd starts miniupnpd on the router, with NAT-PMP or with UPnP alone.
func (l *Lab) StartMiniupnpd(ctx context.Context, natpmp bool) (*Miniupnpd, error) {
	m := &Miniupnpd{lab: l, conf: filepath.Join(l.dir, "miniupnpd.conf")}
	if err := m.configure(natpmp); err != nil {
		return nil, err
	}
	if err := l.nft(ctx, "table inet upnp\ndelete table inet upnp\n"+miniupnpdTable); err != nil {
		return nil, err
	}
	l.later(m.Stop)
	return m, m.Start(ctx)
}

// Start starts it, if it does not run, and returns when it listens.
func (m *Miniupnpd) Start(ctx context.Context) (err error) {
	if m.process != nil {
		return nil
	}
	log := m.conf + ".log"
	_ = os.Remove(log) // What the one before has said
	m.process, err = start(log, inNet(m.lab.Router, "miniupnpd", "-d", "-f", m.conf, "-P", m.conf+".pid")...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return until(ctx, 5*time.Millisecond, func() error {
		said, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(said), "listening on port") {
			err = fmt.Errorf("miniupnpd does not listen yet: %s", said)
		}
		return err
	})
}

// Stop kills it, so that nobody is told.
func (m *Miniupnpd) Stop() error {
	if m.process == nil {
		return nil
	}
	p := m.process
	m.process = nil
	return p.stop(syscall.SIGKILL)
}

// A RouterChange is a way in which a router gets another public address: commands of
// ip(8), which have the new one and the old one.
type RouterChange struct{ Name, Commands string }

// RouterChanges are three of them: as a lease that ends, as a lease that is replaced,
// and as a line that is dialled anew.
var RouterChanges = []RouterChange{
	{"flush, add", "addr flush dev wan\naddr add %[1]s/24 dev wan\n"},
	{"add, delete the old", "addr add %[1]s/24 dev wan\naddr del %[2]s/24 dev wan\n"},
	{"link down, add, link up", "link set wan down\naddr flush dev wan\naddr add %[1]s/24 dev wan\nlink set wan up\n"},
}

// RouterWorld gives the internet the network of RouterPublic, and the router the first of
// its addresses.
func (l *Lab) RouterWorld(ctx context.Context) error {
	if err := ip(ctx, l.Inet, "addr replace 192.0.1.1/24 dev wan\n"); err != nil {
		return fmt.Errorf("making a network for a router: %w", err)
	}
	// Without it, the last address of a network takes those that came after it along.
	if _, err := run(ctx, inNet(l.Router, "sysctl", "-q", "net.ipv4.conf.all.promote_secondaries=1")...); err != nil {
		return fmt.Errorf("making a network for a router: %w", err)
	}
	_, err := l.ChangeRouter(ctx, RouterChanges[0], RouterPublic(0), netip.Addr{})
	return err
}

// ChangeRouter gives the router another public address in the place of an old one. It
// returns when packets could pass with the new one.
func (l *Lab) ChangeRouter(ctx context.Context, c RouterChange, to, old netip.Addr) (passes time.Time, err error) {
	commands := fmt.Sprintf(c.Commands+"route replace default via 192.0.1.1\n%.0[2]s", to, old)
	if _, err := runInput(ctx, strings.NewReader(commands), "ip", "-4", "-n", l.Router, "-batch", "-"); err != nil {
		return passes, fmt.Errorf("changing the router's address: %w", err)
	}
	passes = time.Now()
	if _, err := run(ctx, inNet(l.Router, "conntrack", "-F")...); err != nil {
		return passes, fmt.Errorf("dropping the router's mappings: %w", err)
	}
	return passes, nil
}

// configure writes its configuration.
func (m *Miniupnpd) configure(natpmp bool) error {
	said := map[bool]string{true: "yes", false: "no"}[natpmp]
	if err := os.WriteFile(m.conf, fmt.Appendf(nil, miniupnpdConf, said), 0o600); err != nil {
		return fmt.Errorf("configuring miniupnpd: %w", err)
	}
	return nil
}
