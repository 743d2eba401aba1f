package sources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A fakeKernel is a network that a test changes, in the time of a synctest
// bubble: a deliberate fake, because neither storms nor silence can be had from
// the real one at will.
type fakeKernel struct {
	t        *testing.T
	messages chan error // nil is a message

	mu     sync.Mutex // guards what follows
	is     string
	others string        // the ways to servers, if they are others than to anyone
	torn   int           // how many of the next Reads are interrupted, and see nothing
	cost   time.Duration // of a Read
	during func()        // is called in the middle of a Read
	failed error         // of Read
	reads  []time.Time
}

func newFakeKernel(t *testing.T, is string) *fakeKernel {
	return &fakeKernel{t: t, messages: make(chan error, 1000), is: is}
}

func (k *fakeKernel) Wait() error {
	err, open := <-k.messages
	if !open {
		return errors.New("closed")
	}
	return err
}

func (k *fakeKernel) Read(before, now []Asked) (network, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads = append(k.reads, time.Now())
	if k.during != nil {
		k.during()
	}
	<-time.After(k.cost)
	if k.torn > 0 {
		k.torn--
		return newNetwork(), false, nil
	}
	is := netOf(k.t, k.is)
	if others := netOf(k.t, k.others).ways; len(now) > 0 {
		if is.next = others; len(before) > 0 {
			is.ways = others
		}
	}
	return is, true, k.failed
}

func (k *fakeKernel) Close() error {
	close(k.messages)
	return nil
}

// become changes the network, and says so.
func (k *fakeKernel) become(is string) {
	k.quietly(is)
	k.messages <- nil
}

// quietly changes the network, and says nothing.
func (k *fakeKernel) quietly(is string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.is = is
}

// looks is how often the network was read.
func (k *fakeKernel) looks() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.reads)
}

// alone is what is lent to a source that has no others beside it, and no rules.
var alone = Env{Asked: func() []Asked { return nil }, Bound: func() []netip.Addr { return nil }}

// A hearer runs a source in a bubble and keeps what it told.
type hearer struct {
	*netlinkSource
	mu     sync.Mutex
	told   []string
	refuse string // the new of events that are not accepted
	stop   context.CancelFunc
	ended  chan error
}

// listenTo runs a source on a kernel and waits for the first look.
func listenTo(t *testing.T, k kernel) *hearer {
	l := &hearer{netlinkSource: newNetlink().Source("netlink", alone).(*netlinkSource)}
	l.again(t, k)
	return l
}

// again runs it on another kernel.
func (l *hearer) again(t *testing.T, k kernel) {
	l.open = func() (kernel, error) { return k, nil }
	ctx, cancel := context.WithCancel(t.Context())
	l.stop, l.ended = cancel, make(chan error, 1)
	go func() { l.ended <- l.Run(ctx, l.emit) }()
	synctest.Wait()
}

func (l *hearer) emit(ev netwatch.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != "" && ev.Fields["new"] == l.refuse {
		return errUnheard
	}
	f := ev.Fields
	l.told = append(l.told, strings.TrimSpace(fmt.Sprintf("%s %s %s>%s %s",
		strings.TrimSuffix(ev.Name, "-changed"), f["interface"], f["old"], f["new"], f["use"])))
	return declared(ev)
}

// refused has events with that new not be accepted.
func (l *hearer) refused(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = what
}

// within checks what is told in a span of time, which passes.
func (l *hearer) within(t *testing.T, span time.Duration, want ...string) {
	t.Helper()
	<-time.After(span) // By the clock of the bubble
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.told); diff != "" {
		t.Errorf("wanted (-) and told (+):\n%s", diff)
	}
	l.told = nil
}

// end stops the source, which has no error then.
func (l *hearer) end(t *testing.T) {
	t.Helper()
	l.stop()
	if err := <-l.ended; err != nil {
		t.Error(err)
	}
}

// inBubble is a test of a source that listens to a kernel.
func inBubble(t *testing.T, is string, f func(t *testing.T, k *fakeKernel, l *hearer)) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel(t, is)
		l := listenTo(t, k)
		f(t, k, l)
		l.end(t)
	})
}

func TestNetlinkFirstLookIsSilent(t *testing.T) {
	inBubble(t, "eth0+ eth0/192.0.2.1 eth0>192.0.2.254", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.within(t, time.Hour)
		k.become("eth0+ eth0/192.0.2.1 eth0>192.0.2.254") // A lifetime, or anything
		l.within(t, time.Hour)
	})
}

// A deprecated address that was there at first is told of when it goes.
func TestNetlinkFirstLookHasDeprecated(t *testing.T) {
	inBubble(t, "eth0/~2001:db8::1", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.become("eth0/~2001:db8::1 eth0/192.0.2.1")
		l.within(t, time.Second, "addr eth0 >192.0.2.1")
		k.become("eth0/192.0.2.1")
		l.within(t, time.Second, "addr eth0 2001:db8::1>")
	})
}

// What goes and comes within some milliseconds is one event.
func TestNetlinkReplaced(t *testing.T) {
	inBubble(t, "eth0/192.0.2.1", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.become("")
		l.within(t, gatherTime/2)
		k.become("eth0/192.0.2.2")
		l.within(t, gatherTime, "addr eth0 192.0.2.1>192.0.2.2")
	})
}

// What only came is told at once, when nothing happened right before; and what
// goes is waited for to be replaced.
func TestNetlinkComes(t *testing.T) {
	inBubble(t, "eth0- eth0/192.0.2.1", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.within(t, 3*gatherTime)
		k.become("eth0- eth0/192.0.2.1 eth0/192.0.2.2")
		l.within(t, 0, "addr eth0 >192.0.2.2")
		l.within(t, 3*gatherTime)
		k.become("eth0+ eth0/192.0.2.1 eth0/192.0.2.2 eth0>192.0.2.254")
		l.within(t, 0, "link eth0 down>up", "addr eth0 >192.0.2.2 callers", "route eth0 >eth0 192.0.2.254 -")
		l.within(t, 3*gatherTime)
		for _, less := range []string{
			"eth0- eth0/192.0.2.1 eth0/192.0.2.2 eth0>192.0.2.254",
			"eth0+ eth0/192.0.2.1 eth0/192.0.2.2 eth0>192.0.2.253",
			"eth0+ eth0/192.0.2.1 eth0/192.0.2.2",
			"eth0+ eth0/192.0.2.1 eth0>192.0.2.254",
		} {
			k.become(less)
			l.within(t, 0)
			k.become("eth0+ eth0/192.0.2.1 eth0/192.0.2.2 eth0>192.0.2.254")
			l.within(t, 3*gatherTime)
		}
	})
}

// Half of before and half of after is never told.
func TestNetlinkTornLook(t *testing.T) {
	inBubble(t, "eth0/192.0.2.1", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.torn = mostTorn - 1
		k.become("eth0/192.0.2.2")
		l.within(t, time.Second, "addr eth0 192.0.2.1>192.0.2.2")
	})
}

// The same where the kernel does not know that it was interrupted: the links
// were read before a change, and the addresses after it.
func TestNetlinkChangeWhileLooking(t *testing.T) {
	inBubble(t, "eth0/192.0.2.1", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.during = func() {
			if len(k.reads) == 2 { // That sees nothing, and the message is there at its end
				k.is = ""
				k.messages <- nil
				<-time.After(time.Millisecond)
			} else {
				k.is = "eth0/192.0.2.2"
			}
		}
		k.messages <- nil
		l.within(t, time.Second, "addr eth0 192.0.2.1>192.0.2.2")
	})
}

// A storm without an end hides nothing for long, and leaves the processor to
// others.
func TestNetlinkEndlessStorm(t *testing.T) {
	inBubble(t, "", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.mu.Lock()
		k.cost = 10 * time.Millisecond
		k.during = func() { k.messages <- nil }
		k.mu.Unlock()
		k.become("eth0/192.0.2.1")
		before := k.looks()
		l.within(t, time.Second, "addr eth0 >192.0.2.1")
		if n := k.looks() - before; n > 21 {
			t.Errorf("%d looks of 10ms in a second", n)
		}
		k.mu.Lock()
		k.during = nil
		k.mu.Unlock()
	})
}

// What the kernel says nothing about is seen soon when it says anything, and
// some day even if it does not.
func TestNetlinkSilentChange(t *testing.T) {
	inBubble(t, "eth0+ eth0>192.0.2.254", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.become("eth0- eth0>192.0.2.254")
		l.within(t, 2*gatherTime, "link eth0 up>down")
		k.quietly("eth0-") // Later than the look that the message brought
		l.within(t, secondLook+gatherTime, "route eth0 eth0 192.0.2.254 ->")
		l.within(t, time.Hour)
		k.quietly("eth0- eth0/192.0.2.1")
		l.within(t, safetyLook+gatherTime, "addr eth0 >192.0.2.1")
	})
}

// What an address is of use for is told with it: to callers, on the interface of a
// way out, of either family, or where a file of a server names it.
func TestNetlinkUse(t *testing.T) {
	inBubble(t, "eth0>192.0.2.254 tun0>fe80::1", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.env.Bound = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("172.17.0.1")} }
		const ways = " eth0>192.0.2.254 tun0>fe80::1"
		for _, c := range []struct{ is, told string }{
			{"eth0/192.0.2.1", "addr eth0 >192.0.2.1 callers"},
			{"eth0/192.0.2.1 tun0/10.8.0.2", "addr tun0 >10.8.0.2 callers"},
			{"eth0/192.0.2.1", "addr tun0 10.8.0.2> callers"},
			{"eth0/192.0.2.1 podman0/10.88.0.1", "addr podman0 >10.88.0.1"},
			{"eth0/192.0.2.1", "addr podman0 10.88.0.1>"},
			{"eth0/192.0.2.1 docker9/172.17.0.1", "addr docker9 >172.17.0.1 callers"},
			{"eth0/192.0.2.1 docker9/172.17.0.2", "addr docker9 172.17.0.1>172.17.0.2 callers"},
		} {
			k.become(c.is + ways)
			l.within(t, time.Second, c.told)
		}
	})
}

// The way out goes with the address, and comes after it: what it was is what counts
// for the one, and the other is told again, as of use now; but only what came while
// the source watched, and once.
func TestNetlinkUseComesLater(t *testing.T) {
	inBubble(t, "eth0/192.0.2.1 eth0>192.0.2.254 wwan0/192.0.2.77", func(t *testing.T, k *fakeKernel, l *hearer) {
		k.become("wwan0/192.0.2.77")
		l.within(t, time.Second, "addr eth0 192.0.2.1> callers", "route eth0 eth0 192.0.2.254 ->")
		k.become("wwan0/192.0.2.77 eth0/192.0.2.2")
		l.within(t, time.Second, "addr eth0 >192.0.2.2")
		k.become("wwan0/192.0.2.77 eth0/192.0.2.2 eth0>192.0.2.254")
		l.within(t, time.Second, "addr eth0 >192.0.2.2 callers", "route eth0 >eth0 192.0.2.254 -")
		k.become("wwan0/192.0.2.77 eth0/192.0.2.2 wwan0>")
		l.within(t, time.Second, "route wwan0 eth0 192.0.2.254 ->wwan0 - -")
		k.become("wwan0/192.0.2.77 eth0/192.0.2.2 eth0>192.0.2.254")
		l.within(t, time.Second, "route eth0 wwan0 - ->eth0 192.0.2.254 -")
	})
}

// Beyond what is told one by one, the last stands for the rest: that somewhere among
// them is one that callers use.
func TestNetlinkUseOfMany(t *testing.T) {
	is := newNetwork()
	at := place{"cni0", netwatch.IPv4}
	for i := range 3 * most {
		is.addresses[at] = append(is.addresses[at], address{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i), 1})})
	}
	for last, want := range map[string]string{"10.1.40.1": callers, "10.2.0.1": ""} {
		u := uses{bound: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr(last)} }}
		if all := changes(newNetwork(), is, u); all[most-1].use != want || all[0].use != "" {
			t.Errorf("with %s: %+v", last, all)
		}
	}
}

// Another server to ask is another way to look at, and no other way.
func TestNetlinkAsksOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel(t, "eth0>192.0.2.254")
		k.others = "tun0>"
		server := Asked{Family: netwatch.IPv4, Address: netip.MustParseAddr("203.0.113.53")}
		asked := []Asked{}
		l := &hearer{netlinkSource: newNetlink().Source("netlink", alone).(*netlinkSource)}
		l.env.Asked = func() []Asked { k.mu.Lock(); defer k.mu.Unlock(); return asked }
		l.again(t, k)
		l.within(t, time.Hour)
		k.mu.Lock()
		asked = []Asked{server}
		k.mu.Unlock()
		l.within(t, time.Hour)
		k.mu.Lock()
		k.others = ""
		k.mu.Unlock()
		k.messages <- nil
		l.within(t, time.Second, "route tun0 tun0 - ->")
		l.end(t)
	})
}

// What is not accepted is told again a second later, also by a look that had no
// reason, and then no more.
func TestNetlinkRefused(t *testing.T) {
	inBubble(t, "eth0- eth0>192.0.2.254", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.within(t, time.Minute)
		l.refused("192.0.2.1")
		k.quietly("eth0- eth0/192.0.2.1 eth0>192.0.2.254")
		l.within(t, 2*safetyLook)
		l.refused("")
		l.within(t, secondLook+gatherTime, "addr eth0 >192.0.2.1 callers")
		l.refused("eth0 192.0.2.253 -")
		k.become("eth0+ eth0/192.0.2.1 eth0>192.0.2.253")
		l.within(t, 3*gatherTime, "link eth0 down>up")
		l.refused("")
		l.within(t, secondLook+gatherTime, "link eth0 down>up", "route eth0 eth0 192.0.2.254 ->eth0 192.0.2.253 -")
		l.within(t, time.Hour)
	})
}

// A source that ends while it waits for a storm to be over does not look once more.
func TestNetlinkEndsInAStorm(t *testing.T) {
	inBubble(t, "eth0+", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.within(t, time.Minute)
		k.become("eth0+ eth0/192.0.2.1")
		synctest.Wait()
		before := k.looks()
		k.become("eth0+ eth0/192.0.2.2")
		synctest.Wait()
		l.stop()
		synctest.Wait()
		if n := k.looks() - before; n > 0 {
			t.Errorf("it looked %d times", n)
		}
	})
}

// Nothing happens: six looks an hour.
func TestNetlinkIdle(t *testing.T) {
	inBubble(t, "eth0+", func(t *testing.T, k *fakeKernel, l *hearer) {
		l.within(t, time.Minute)
		before := k.looks()
		l.within(t, time.Hour)
		if n := k.looks() - before; n > 6 {
			t.Errorf("%d looks in an hour", n)
		}
	})
}

// What happens between an error and the next Run is told by that.
func TestNetlinkRunsAgain(t *testing.T) {
	errBroken := errors.New("broken")
	breaks := map[string]func(k *fakeKernel){
		"listening": func(k *fakeKernel) { k.messages <- errBroken },
		"asking":    func(k *fakeKernel) { k.failed = errBroken; k.messages <- nil },
	}
	for name, broken := range breaks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeKernel(t, "eth0/192.0.2.1")
				l := listenTo(t, k)
				broken(k)
				if err := <-l.ended; !errors.Is(err, errBroken) {
					t.Errorf("it ends with %v", err)
				}
				l.again(t, newFakeKernel(t, "eth0/192.0.2.2"))
				l.within(t, 0, "addr eth0 192.0.2.1>192.0.2.2")
				l.end(t)
			})
		})
	}
}

func TestNetlinkCannotOpen(t *testing.T) {
	l := &hearer{netlinkSource: newNetlink().Source("netlink", alone).(*netlinkSource)}
	l.open = func() (kernel, error) { return nil, unopened(unix.EAFNOSUPPORT) }
	err := l.Run(t.Context(), l.emit)
	if err == nil || !strings.Contains(netwatch.Hint(err), "RestrictAddressFamilies=") {
		t.Errorf("%v, hint %q", err, netwatch.Hint(err))
	}
	if hint := netwatch.Hint(unopened(unix.EMFILE)); hint != "" {
		t.Errorf("too many files: hint %q", hint)
	}
}

func TestNetlinkWatches(t *testing.T) {
	settings := newNetlink().(*Netlink)
	for name, want := range map[string]bool{
		"eth0": true, "tun0": true, "wlan0": true, "lo": false, "lo1": true, "docker0": false,
		"veth12ab": false, "br-12ab": false, "br0": true, "virbr0": false,
	} {
		if got := settings.watches(name); got != want {
			t.Errorf("%s: %v by default", name, got)
		}
	}
	settings = &Netlink{Interfaces: []string{"eth*", "tun?"}, Ignore: []string{"eth9"}}
	for name, want := range map[string]bool{"eth0": true, "eth9": false, "tun1": true, "tun11": false, "wlan0": false} {
		if got := settings.watches(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Fields that are empty are absent, and the family of a link is.
func TestNetlinkFields(t *testing.T) {
	is := changes(newNetwork(), netOf(t, "eth0+ eth0/192.0.2.1 eth0>192.0.2.254"), uses{})
	want := []map[string]string{
		{"interface": "eth0", "old": "down", "new": "up"},
		{"interface": "eth0", "family": "ipv4", "new": "192.0.2.1"},
		{"interface": "eth0", "family": "ipv4", "new": "eth0 192.0.2.254 -", "gateway": "192.0.2.254"},
	}
	for i, c := range is {
		if diff := cmp.Diff(want[i], c.fields()); diff != "" {
			t.Error(diff)
		}
	}
}
