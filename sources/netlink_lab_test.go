//go:build lab

package sources

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A netns is a network namespace without a name: it belongs to one thread, and
// ends with it and so with the test.
type netns struct {
	do   chan func() // what its thread does
	file *os.File
	// marks counts the addresses given to the interface that marks moments.
	marks int
}

func newNetns(t *testing.T) *netns {
	t.Helper()
	n, ready := &netns{do: make(chan func())}, make(chan error)
	go func() { // Ends with the test, and its thread with it, because that stays locked
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		for f := range n.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("making a network namespace needs root: %v", err)
	}
	t.Cleanup(func() {
		close(n.do)
		_ = n.file.Close() // Nothing was written
	})
	n.ip(t, "link set lo up", "link add zz0 type veth peer name zz1", "link set zz1 up", "link set zz0 up")
	return n
}

// inside calls f on the thread of the namespace.
func (n *netns) inside(f func()) {
	done := make(chan struct{})
	n.do <- func() { f(); close(done) }
	<-done
}

// run runs a program in the namespace, whose thread starts it, and returns what
// it wrote.
func (n *netns) run(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out []byte
	var err error
	if n.inside(func() { out, err = cmd.CombinedOutput() }); err != nil {
		t.Fatalf("running %q: %v: %s", args, err, out)
	}
	return string(out)
}

// ip runs lines of ip(8) commands. Those that begin with -6 are of IPv6, and all of
// the lines then.
func (n *netns) ip(t *testing.T, lines ...string) {
	t.Helper()
	all, program := strings.Join(lines, "\n")+"\n", []string{"ip"}
	if strings.HasPrefix(all, "-6 ") {
		all, program = strings.ReplaceAll(all, "-6 ", ""), []string{"ip", "-6"}
	}
	n.run(t, all, append(program, "-batch", "-")...)
}

// A watch is a source that runs in a namespace.
type watch struct {
	net    *netns
	source *netlinkSource
	cancel context.CancelFunc
	ended  chan error
	// spy is the kernel as the source has it now.
	spy *spy

	mu   sync.Mutex // guards what follows
	told []netwatch.Event
	more *sync.Cond
}

// A spy is the real kernel. It says when it was read first, and can keep the
// source from listening.
type spy struct {
	*rtnetlink
	read chan struct{} // gets one for each Read, while there is room
	hold chan struct{} // while something is in it, the source does not listen
}

func (s *spy) Read(before, now []Asked) (network, bool, error) {
	select {
	case s.read <- struct{}{}:
	default:
	}
	return s.rtnetlink.Read(before, now)
}

func (s *spy) Wait() error {
	s.hold <- struct{}{}
	<-s.hold
	return s.rtnetlink.Wait()
}

// nobody is the user that has no privilege at all.
const nobody = 65534

// follow runs a source as nobody until the test ends, and returns when it has
// looked once.
func (n *netns) follow(t *testing.T, settings *Netlink) *watch {
	t.Helper()
	w := n.newWatch(t, settings)
	w.begin(t)
	return w
}

// newWatch makes a source that does not run yet.
func (n *netns) newWatch(t *testing.T, settings *Netlink) *watch {
	t.Helper()
	n.awaitLinks(t, settings.watches)
	w := &watch{net: n, source: settings.Source("netlink", alone).(*netlinkSource)}
	w.more = sync.NewCond(&w.mu)
	open := w.source.open
	w.source.open = func() (kernel, error) {
		k, err := open()
		if err == nil {
			w.spy.rtnetlink = k.(*rtnetlink)
		}
		return w.spy, err
	}
	return w
}

// begin runs it until the test ends.
func (w *watch) begin(t *testing.T) {
	t.Helper()
	w.start(t)
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// awaitLinks waits until the links are up that are watched: the kernel may find a
// second late that packets can pass.
func (n *netns) awaitLinks(t *testing.T, watches func(string) bool) {
	t.Helper()
	var k kernel
	var err error
	if n.inside(func() { k, err = openKernel(watches) }); err != nil {
		t.Fatal(err)
	}
	defer k.Close() // Nothing was written
	for {
		is, _, err := k.Read(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(slices.Collect(maps.Values(is.up)), false) {
			return
		}
		if err := k.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs the source on a thread that is in the namespace and nobody's.
func (w *watch) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w.spy = &spy{read: make(chan struct{}, 2), hold: make(chan struct{}, 1)}
	w.cancel, w.ended = cancel, make(chan error, 1)
	go func() {
		runtime.LockOSThread() // And never unlocked: the thread is of no use to others
		if err := unix.Setns(int(w.net.file.Fd()), unix.CLONE_NEWNET); err != nil {
			w.ended <- err
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			w.ended <- errno // Of this thread alone
			return
		}
		w.ended <- w.source.Run(ctx, w.emit)
	}()
	for range 2 { // The first look is over when the second begins, which has no reason
		select {
		case <-w.spy.read:
		case err := <-w.ended:
			t.Fatalf("the source ended: %v", err)
		}
	}
}

// stop stops the source and returns what Run does.
func (w *watch) stop() error {
	w.cancel()
	return <-w.ended
}

func (w *watch) emit(ev netwatch.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, ev)
	w.more.Broadcast()
	return declared(ev)
}

// wait waits until what was told is as wanted, for as long as the test may take.
func (w *watch) wait(t *testing.T, what string, until func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { w.mu.Lock(); defer w.mu.Unlock(); w.more.Broadcast() })()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !until() {
		if ctx.Err() != nil {
			t.Fatalf("%s was never told; but %v", what, lines(w.told))
		}
		w.more.Wait()
	}
}

// mark returns when all that has happened by now is told: when an address is
// told that came after it, and another one that came after that, because one
// look may tell of the first before it tells of the rest.
func (w *watch) mark(t *testing.T) {
	t.Helper()
	for range 2 {
		w.net.marks++
		a := fmt.Sprintf("192.0.2.%d", w.net.marks)
		w.net.ip(t, "addr add "+a+"/32 dev zz0")
		w.wait(t, a, func() bool {
			return slices.ContainsFunc(w.told, func(ev netwatch.Event) bool { return ev.Fields["new"] == a })
		})
	}
}

// take is what has been told since the last take, less the marks.
func (w *watch) take(t *testing.T) []string {
	t.Helper()
	w.mark(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	all := lines(w.told)
	w.told = nil
	return all
}

// lines are events as lines of text. What went and what came in the next look is
// one line, as if one look had found both: whether it did is a matter of time.
func lines(events []netwatch.Event) (all []string) {
	var last change
	for _, ev := range events {
		f := ev.Fields
		c := change{event: ev.Name, link: f["interface"], family: netwatch.Family(f["family"]), old: f["old"], new: f["new"]}
		if c.link == "zz0" {
			continue
		}
		if c.event != netwatch.LinkChanged && c.event == last.event && c.link == last.link && c.family == last.family &&
			last.new == "" && c.old == "" {
			c.old, all = last.old, all[:len(all)-1]
		}
		all, last = append(all,
			strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s>%s", c.event, c.link, c.family, c.old, c.new)), " ")), c
	}
	return all
}

// A move is something done to a network, and what is to be told of it.
type move struct {
	name string
	do   []string
	want []string
}

// play makes the moves one after the other.
func (w *watch) play(t *testing.T, moves []move) {
	t.Helper()
	for _, m := range moves {
		w.net.ip(t, m.do...)
		w.wait(t, m.name, func() bool { return len(lines(w.told)) >= len(m.want) })
		// In no order: whether one look sees it all is a matter of time.
		got := w.take(t)
		slices.Sort(got)
		slices.Sort(m.want)
		if diff := cmp.Diff(m.want, got); diff != "" {
			t.Errorf("%s: wanted (-) and told (+):\n%s", m.name, diff)
		}
	}
}

// cable is a link with an address and a way out, the other end of which is p0.
var cable = []string{
	"link add eth0 type veth peer name p0", "link set p0 up", "link set eth0 up",
	"addr add 192.168.50.2/24 dev eth0", "route add default via 192.168.50.1",
}

// only is settings for an interface, and for the one that marks moments.
func only(interfaces ...string) *Netlink {
	return &Netlink{Interfaces: append(interfaces, "zz0")}
}

func TestNetlinkIPv4(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	n.follow(t, only("eth0")).play(t, []move{
		{"add", []string{"addr add 192.168.50.9/24 dev eth0"}, []string{"addr-changed eth0 ipv4 >192.168.50.9"}},
		{"lifetimes", []string{
			"addr change 192.168.50.9/24 dev eth0 valid_lft 1000 preferred_lft 900",
			"addr change 192.168.50.9/24 dev eth0 valid_lft 900 preferred_lft 0",
		}, nil},
		{"link-local", []string{"addr add 169.254.7.7/16 dev eth0"}, nil},
		{"link-local gone", []string{"addr del 169.254.7.7/16 dev eth0"}, nil},
		{"another interface", []string{"addr add 192.168.60.1/24 dev p0"}, nil},
		{
			"replace",
			[]string{"addr del 192.168.50.9/24 dev eth0", "addr add 192.168.50.10/24 dev eth0"},
			[]string{"addr-changed eth0 ipv4 192.168.50.9>192.168.50.10"},
		},
		// The secondary address goes with the primary one, and the route goes
		// without a message of its own (measured).
		{"delete the primary", []string{"addr del 192.168.50.2/24 dev eth0"}, []string{
			"addr-changed eth0 ipv4 192.168.50.2>", "addr-changed eth0 ipv4 192.168.50.10>",
			"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>",
		}},
		{"all again", []string{"addr add 192.168.50.2/24 dev eth0", "route add default via 192.168.50.1"}, []string{
			"addr-changed eth0 ipv4 >192.168.50.2", "route-changed eth0 ipv4 >eth0 192.168.50.1 192.168.50.2",
		}},
		{
			"a point-to-point address",
			[]string{"addr add 10.8.0.2 peer 10.8.0.1 dev eth0"},
			[]string{"addr-changed eth0 ipv4 >10.8.0.2"},
		},
	})
}

func TestNetlinkLinks(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	n.follow(t, only("eth0", "wan0", "tun*")).play(t, []move{
		{"down", []string{"link set eth0 down"}, []string{
			"link-changed eth0 up>down",
			"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>",
		}},
		{"up", []string{"link set eth0 up"}, []string{"link-changed eth0 down>up"}},
		{
			"route",
			[]string{"route add default via 192.168.50.1"},
			[]string{"route-changed eth0 ipv4 >eth0 192.168.50.1 192.168.50.2"},
		},
		{"carrier lost", []string{"link set p0 down"}, []string{"link-changed eth0 up>down"}},
		{"carrier back", []string{"link set p0 up"}, []string{"link-changed eth0 down>up"}},
		{"renamed", []string{"link set eth0 down", "link set eth0 name wan0", "link set wan0 up"}, []string{
			"link-changed eth0 up>down", "link-changed wan0 down>up",
			"addr-changed eth0 ipv4 192.168.50.2>", "addr-changed wan0 ipv4 >192.168.50.2",
			"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>",
		}},
		{"comes down", []string{"link add tun0 type veth peer name p1", "link set p1 up"}, nil},
		{
			"goes up",
			[]string{"link set tun0 up", "addr add 10.8.0.2/32 dev tun0"},
			[]string{"link-changed tun0 down>up", "addr-changed tun0 ipv4 >10.8.0.2"},
		},
		{"vanishes", []string{"link del tun0"}, []string{"link-changed tun0 up>down", "addr-changed tun0 ipv4 10.8.0.2>"}},
	})
}

func TestNetlinkWays(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	n.ip(t, "link add tun0 type veth peer name p1", "link set p1 up", "link set tun0 up", "addr add 10.8.0.2/24 dev tun0",
		"addr add 2001:db8::2/64 dev eth0 nodad", "addr add 2001:db8:8::2/64 dev tun0 nodad")
	const eth0, tun0, tun6 = "eth0 192.168.50.1 192.168.50.2", "tun0 - 10.8.0.2", "tun0 - 2001:db8:8::2"
	const gateway6 = "eth0 fe80::1 2001:db8::2"
	changed := func(link, was, is string) []string {
		family := "ipv4"
		if strings.Contains(was+is, ":") {
			family = "ipv6"
		}
		return []string{"route-changed " + link + " " + family + " " + was + ">" + is}
	}
	// The way is what matters, whatever the source watches.
	n.follow(t, only("nothing")).play(t, []move{
		{
			"another gateway",
			[]string{"route replace default via 192.168.50.254"},
			changed("eth0", eth0, "eth0 192.168.50.254 192.168.50.2"),
		},
		{
			"back",
			[]string{"route replace default via 192.168.50.1"},
			changed("eth0", "eth0 192.168.50.254 192.168.50.2", eth0),
		},
		{"worse", []string{"route add default dev tun0 metric 100"}, nil},
		{"one half of a VPN, and not ours", []string{"route add 0.0.0.0/1 dev tun0"}, nil},
		{"the other half", []string{"route add 128.0.0.0/1 dev tun0"}, changed("tun0", eth0, tun0)},
		{
			"the VPN ends",
			[]string{"route del 0.0.0.0/1 dev tun0", "route del 128.0.0.0/1 dev tun0"},
			changed("eth0", tun0, eth0),
		},
		{"a table that no rule names", []string{"route add default dev tun0 table 77"}, nil},
		{"a rule", []string{"rule add from all lookup 77 priority 100"}, changed("tun0", eth0, tun0)},
		{"no more", []string{"rule del from all lookup 77 priority 100"}, changed("eth0", tun0, eth0)},
		// As wg-quick has it: all that WireGuard itself does not send goes into its table.
		{"by a mark that is not there", []string{"rule add not fwmark 51820 table 77"}, changed("tun0", eth0, tun0)},
		{"a more general rule before it", []string{"rule add table main suppress_prefixlength 0"}, nil},
		{
			"both end",
			[]string{"rule del not fwmark 51820 table 77", "rule del table main suppress_prefixlength 0"},
			changed("eth0", tun0, eth0),
		},
		{"a route to that server alone", []string{"route add 192.0.0.9 dev tun0"}, changed("tun0", eth0, tun0)},
		{"no more", []string{"route del 192.0.0.9"}, changed("eth0", tun0, eth0)},
		{
			"another source",
			[]string{"addr add 192.168.50.9/24 dev eth0", "route replace default via 192.168.50.1 src 192.168.50.9"},
			changed("eth0", eth0, "eth0 192.168.50.1 192.168.50.9"),
		},
		{
			"back",
			[]string{"route replace default via 192.168.50.1 src 192.168.50.2"},
			changed("eth0", "eth0 192.168.50.1 192.168.50.9", eth0),
		},
		{"one that refuses", []string{"route add unreachable 192.0.0.0/24"}, changed("eth0", eth0, "")},
		{"no longer", []string{"route del unreachable 192.0.0.0/24"}, changed("eth0", "", eth0)},
		{
			"a next hop",
			[]string{
				"nexthop add id 5 via 192.168.50.7 dev eth0", "route add default nhid 5 metric 0 src 192.168.50.2 table 78",
				"rule add table 78 priority 90",
			},
			changed("eth0", eth0, "eth0 192.168.50.7 192.168.50.2"),
		},
		{
			"that is another",
			[]string{"nexthop replace id 5 via 192.168.50.8 dev eth0"},
			changed("eth0", "eth0 192.168.50.7 192.168.50.2", "eth0 192.168.50.8 192.168.50.2"),
		},
		{"no more", []string{"rule del table 78 priority 90"}, changed("eth0", "eth0 192.168.50.8 192.168.50.2", eth0)},
		{
			"a gateway of the other family",
			[]string{"route add 0.0.0.0/1 via inet6 fe80::7 dev eth0", "route add 128.0.0.0/1 via inet6 fe80::7 dev eth0"},
			[]string{"route-changed eth0 ipv4 " + eth0 + ">eth0 fe80::7 192.168.50.2"},
		},
		{"IPv6", []string{"-6 route add default via fe80::1 dev eth0"}, changed("eth0", "", gateway6)},
		{
			"IPv6, over a rule",
			[]string{"-6 route add default dev tun0 table 77", "-6 rule add table 77 priority 100"},
			changed("tun0", gateway6, tun6),
		},
		{"IPv6, no more", []string{"-6 rule del table 77 priority 100"}, changed("eth0", tun6, gateway6)},
		{
			"IPv6, two halves",
			[]string{"-6 route add ::/1 dev tun0", "-6 route add 8000::/1 dev tun0"},
			changed("tun0", gateway6, tun6),
		},
	})
}

// A source that keeps to an interface has the way over that, wherever others go.
func TestNetlinkWayOverAnInterface(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	n.ip(t, "link add tun0 type veth peer name p1", "link set p1 up", "link set tun0 up", "addr add 10.8.0.2/24 dev tun0")
	w := n.newWatch(t, only("nothing"))
	server := netip.MustParseAddr("203.0.113.53")
	w.source.env.Asked = func() []Asked { return []Asked{{netwatch.IPv4, "eth0", server, netip.Addr{}}} }
	w.begin(t)
	w.play(t, []move{
		{"a VPN", []string{"route add 0.0.0.0/1 dev tun0", "route add 128.0.0.0/1 dev tun0"}, nil},
		{
			"another gateway",
			[]string{"route replace default via 192.168.50.254"},
			[]string{"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>eth0 192.168.50.254 192.168.50.2"},
		},
	})
}

// One that asks from an address of this machine has the way that packets from that take.
func TestNetlinkWayFromAnAddress(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	n.ip(t, "link add tun0 type veth peer name p1", "link set p1 up", "link set tun0 up", "addr add 10.8.0.2/24 dev tun0",
		"rule add from 192.168.50.2 lookup 100", "route add default via 192.168.50.1 table 100")
	w := n.newWatch(t, only("nothing"))
	server := netip.MustParseAddr("203.0.113.53")
	own := netip.MustParseAddr("192.168.50.2")
	w.source.env.Asked = func() []Asked { return []Asked{{netwatch.IPv4, "", server, own}} }
	w.begin(t)
	w.play(t, []move{
		{"a VPN", []string{"route add 0.0.0.0/1 dev tun0", "route add 128.0.0.0/1 dev tun0"}, nil},
		{"no other way", []string{"route del default"}, nil},
		{
			"another gateway",
			[]string{"route replace default via 192.168.50.254 table 100"},
			[]string{"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>eth0 192.168.50.254 192.168.50.2"},
		},
		{
			"not ours any more",
			[]string{"addr del 192.168.50.2/24 dev eth0"},
			[]string{"route-changed eth0 ipv4 eth0 192.168.50.254 192.168.50.2>"},
		},
	})
}

func TestNetlinkIPv6(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0"))
	w.play(t, []move{
		// It counts when the kernel has made sure that nobody else has it.
		{"add", []string{"addr add 2001:db8::2/64 dev eth0"}, []string{"addr-changed eth0 ipv6 >2001:db8::2"}},
		{"deprecated", []string{"addr change 2001:db8::2/64 dev eth0 valid_lft 1000 preferred_lft 0"}, nil},
		{"preferred", []string{"addr change 2001:db8::2/64 dev eth0 valid_lft 1000 preferred_lft 900"}, nil},
		{
			"expiry",
			[]string{"addr change 2001:db8::2/64 dev eth0 valid_lft 2 preferred_lft 1"},
			[]string{"addr-changed eth0 ipv6 2001:db8::2>"},
		},
		{"comes deprecated", []string{"addr add 2001:db8::3/64 dev eth0 nodad valid_lft 1000 preferred_lft 0"}, nil},
		{
			"tentative",
			[]string{"link set p0 down", "addr add 2001:db8::4/64 dev eth0"},
			[]string{"link-changed eth0 up>down"},
		},
		{"no longer", []string{"link set p0 up"}, []string{
			"link-changed eth0 down>up",
			"addr-changed eth0 ipv6 >2001:db8::4",
		}},
		{"down", []string{"addr flush dev p0", "link set eth0 down"}, []string{
			"link-changed eth0 up>down", "addr-changed eth0 ipv6 2001:db8::4>",
			"route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>",
		}},
		{"up", []string{"link set eth0 up"}, []string{"link-changed eth0 down>up"}},
		{"duplicate", []string{"addr add 2001:db8::5/64 dev p0 nodad", "addr add 2001:db8::5/64 dev eth0"}, nil},
	})
}

// An interface whose privacy is to be kept has temporary addresses; only the
// lasting one counts, with which they come, and the prefix of the way out.
func TestNetlinkTemporaryAddresses(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0"))
	n.run(t, "", "sysctl", "-q", "net.ipv6.conf.eth0.use_tempaddr=2", "net.ipv6.conf.eth0.accept_dad=0")
	w.play(t, []move{
		{
			"temporary",
			[]string{"addr add 2001:db8::1:2/64 dev eth0 nodad mngtmpaddr valid_lft 1000 preferred_lft 900"},
			[]string{"addr-changed eth0 ipv6 >2001:db8::1:2"},
		},
		// Packets come from the temporary address, which will be another tomorrow.
		{
			"the way out",
			[]string{"route add default via fe80::1 dev eth0"},
			[]string{"route-changed eth0 ipv6 >eth0 fe80::1 2001:db8::/64"},
		},
	})
	if made := n.run(t, "", "ip", "-6", "addr", "show", "dev", "eth0", "temporary"); !strings.Contains(made, "temporary") {
		t.Errorf("the kernel made no temporary address: %s", made)
	}
}

// Each kind of message wakes by itself: these changes bring no other.
func TestNetlinkEachGroupWakes(t *testing.T) {
	n := newNetns(t)
	n.ip(t, append(cable, "addr add 2001:db8::2/64 dev eth0 nodad")...)
	n.awaitLinks(t, func(name string) bool { return name == "eth0" })
	var k kernel
	var err error
	if n.inside(func() { k, err = openKernel(anything) }); err != nil {
		t.Fatal(err)
	}
	defer k.Close() // Nothing was written
	within := func(d time.Duration) error {
		if err := k.(*rtnetlink).told.SetReadDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		return k.Wait()
	}
	quiet := func(d time.Duration) {
		for err := error(nil); err == nil; {
			err = within(d)
		}
	}
	quiet(3 * time.Second) // Until no link-local address is tentative any more
	for _, line := range []string{
		"link set eth0 alias cable",
		"addr change 192.168.50.2/24 dev eth0 valid_lft 1000 preferred_lft 900",
		"route add 198.51.100.0/24 dev eth0",
		"addr change 2001:db8::2/64 dev eth0 valid_lft 1000 preferred_lft 900",
		"route add default via fe80::1 dev eth0",
		"rule add table 77",
		"-6 rule add table 77",
		"nexthop add id 7 blackhole",
	} {
		quiet(200 * time.Millisecond)
		n.ip(t, line)
		if err := within(10 * time.Second); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// burst is lines of ip(8) that change addresses of an interface n times and leave
// none of them.
func burst(link string, n int) (all []string) {
	for i := range n / 2 {
		a := fmt.Sprintf("10.%d.%d.1/32 dev %s", i/250, i%250, link)
		all = append(all, "addr add "+a, "addr del "+a)
	}
	return all
}

// A storm on one interface hides nothing of another, and costs little. The cost
// is logged, and compared with one that no machine has.
func TestNetlinkStorm(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0", "p0"))
	used := processorTime(t)
	began := time.Now()
	n.ip(t, append(burst("p0", 5000), "addr add 192.168.50.9/24 dev eth0")...)
	ended := time.Now()
	w.wait(t, "the one that matters", func() bool { return slices.ContainsFunc(w.told, of("192.168.50.9")) })
	took := time.Since(ended)
	t.Logf("5000 changes in %v; the one after them told after %v, of %d events; %v of a processor",
		ended.Sub(began), took, len(w.take(t)), processorTime(t)-used)
}

// of tells whether an event is about a new address.
func of(a string) func(netwatch.Event) bool {
	return func(ev netwatch.Event) bool { return ev.Fields["new"] == a }
}

// processorTime is what this process has used, without its children.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// Thousands of addresses that stay are one reason to look, and not thousands of
// events.
func TestNetlinkThousandsAtOnce(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0", "p0"))
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("addr add 10.%d.%d.1/32 dev p0", i/250, i%250))
	}
	began := time.Now()
	n.ip(t, append(many, "addr add 192.168.50.9/24 dev eth0")...)
	ended := time.Now()
	w.wait(t, "the one that matters", func() bool { return slices.ContainsFunc(w.told, of("192.168.50.9")) })
	took := time.Since(ended)
	all := w.take(t)
	t.Logf("5000 addresses in %v; the one after them told after %v, of %d events", ended.Sub(began), took, len(all))
	if len(all) > 20*most {
		t.Errorf("%d events", len(all))
	}
}

// When the source does not listen for a while, the kernel drops messages, and
// says so once (ENOBUFS).
func TestNetlinkLosesMessages(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0", "p0"))
	if err := w.spy.told.SetReadBuffer(1); err != nil { // The kernel's least
		t.Fatal(err)
	}
	w.spy.hold <- struct{}{} // It may still hear one
	n.ip(t, append(burst("p0", 500), "addr add 192.168.50.9/24 dev eth0")...)
	if dropped := n.dropped(t); dropped == 0 {
		t.Error("the kernel dropped nothing")
	} else {
		t.Logf("the kernel dropped %d messages", dropped)
	}
	<-w.spy.hold
	w.wait(t, "what was lost", func() bool { return slices.ContainsFunc(w.told, of("192.168.50.9")) })
	w.take(t)
	w.play(t, []move{{
		"after it",
		[]string{"addr del 192.168.50.9/24 dev eth0"},
		[]string{"addr-changed eth0 ipv4 192.168.50.9>"},
	}})
}

// dropped is how many messages the kernel dropped of all sockets (proc(5)).
func (n *netns) dropped(t *testing.T) (all int) {
	t.Helper()
	var text []byte
	var err error
	if n.inside(func() { text, err = os.ReadFile("/proc/thread-self/net/netlink") }); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		// The columns are sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode.
		if f := strings.Fields(line); len(f) == 10 {
			drops, _ := strconv.Atoi(f[8]) // 0 of the heading
			all += drops
		}
	}
	return all
}

// A socket that is closed under it ends the source, which is run again; what
// changed meanwhile is told then.
func TestNetlinkSocketCloses(t *testing.T) {
	n := newNetns(t)
	n.ip(t, cable...)
	w := n.follow(t, only("eth0"))
	if err := w.spy.told.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-w.ended; err == nil {
		t.Fatal("it ends without an error")
	}
	n.ip(t, "addr add 192.168.50.9/24 dev eth0", "route del default")
	w.start(t)
	want := []string{"addr-changed eth0 ipv4 >192.168.50.9", "route-changed eth0 ipv4 eth0 192.168.50.1 192.168.50.2>"}
	if diff := cmp.Diff(want, w.take(t)); diff != "" {
		t.Errorf("wanted (-) and told (+):\n%s", diff)
	}
}
