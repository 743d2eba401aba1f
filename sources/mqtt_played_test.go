package sources

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"netwatch"
)

// A played broker is one in a bubble, to which pipes lead. What it does and does not do, a
// test says.
type played struct {
	// dials is how long a connection takes.
	dials time.Duration
	// kernel is that of its machine, if it says that it has all that is sent.
	kernel syscall.Conn
	// echoes has it hand on to a machine what that says of itself.
	echoes bool

	mu sync.Mutex // guards what follows
	// here is the address of this machine that connections are made from.
	here netip.Addr
	// ignores are the kinds of packets that it does not answer; after others it reads no more.
	ignores, stops []string
	// ours and theirs are the ends of its connections, and said is what came over them.
	ours, theirs []net.Conn
	said         []heardAt
}

// A heardAt is a packet: what it is, as a text, over the connection with what number, and when.
type heardAt struct {
	text string
	over int
	at   time.Time
}

// A lead is a connection from an address of this machine.
type lead struct {
	net.Conn
	from netip.Addr
}

// A wired one is known to the kernel.
type wired struct {
	lead
	syscall.Conn
}

func (c *lead) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 4711))
}

// A movable is a network of a machine whose address can be another.
type movable struct {
	internet
	*played
}

func (m movable) Here() []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []netip.Addr{m.here}
}

// dial connects to it.
func (b *played) dial(ctx context.Context, _ string) (net.Conn, error) {
	if rest(ctx, b.dials); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ours, b.theirs = append(b.ours, ours), append(b.theirs, theirs)
	go b.serve(len(b.ours), theirs) // Ends with the connection
	if b.kernel != nil {
		return &wired{lead{ours, b.here}, b.kernel}, nil
	}
	return &lead{ours, b.here}, nil
}

// serve reads what comes over a connection, and answers it.
func (b *played) serve(over int, c net.Conn) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		if !b.hears(over, p) {
			continue
		}
		if b.stopped(p) {
			return
		}
		if answer := answerTo(p); answer != nil {
			_, _ = answer.WriteTo(c)
		}
		if m, is := p.Content.(*packets.Publish); is && b.echoes {
			b.push(c, m.Topic, m.Payload)
		}
	}
}

// hears notes a packet, and says whether it is to be answered.
func (b *played) hears(over int, p *packets.ControlPacket) bool {
	text := p.PacketType()
	if m, is := p.Content.(*packets.Publish); is {
		text += fmt.Sprintf(" %s %s", m.Topic, m.Payload)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, heardAt{text, over, time.Now()})
	return !slices.Contains(b.ignores, p.PacketType())
}

// stopped says whether it reads no more after a packet.
func (b *played) stopped(p *packets.ControlPacket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.stops, p.PacketType())
}

// push has a message come over a connection.
func (b *played) push(c net.Conn, topic string, payload []byte) {
	m := packets.NewControlPacket(packets.PUBLISH)
	m.Content.(*packets.Publish).Topic, m.Content.(*packets.Publish).Payload = topic, payload
	_, _ = m.WriteTo(c) // It may have ended
}

// all are the packets that begin so.
func (b *played) all(begin string) (some []heardAt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.said {
		if strings.HasPrefix(p.text, begin) {
			some = append(some, p)
		}
	}
	return some
}

// ignore has it answer no more packets of these kinds, and all others.
func (b *played) ignore(kinds ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ignores = kinds
}

// source is a source at it, which is changed before it is made.
func (b *played) source(change func(*MQTT, *Env)) *mqtt {
	b.here = host(1)
	m := &MQTT{Broker: "mqtt://b", Host: "self", Topic: "netwatch"}
	env := Env{
		Known: func() netwatch.Addresses { return netwatch.Addresses{} }, Seen: func(string, string) string { return "" },
		See: func(string, string, string) error { return nil }, Sights: func(string) map[string]string { return nil },
		Edges: Edges{Broker: b.dial, Network: movable{played: b}, Random: func() float64 { return 0 }},
	}
	if change != nil {
		change(m, &env)
	}
	return m.Source("mqtt", env).(*mqtt)
}

// runs runs a source until the story is over.
func runs(t *testing.T, s *mqtt, emit func(netwatch.Event) error, story func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, emit) }()
	story()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// untold takes events of which there are none.
func untold(netwatch.Event) error { return nil }

// Who has nothing to say says nothing: while all is well, a message in the first second is
// the only one in an hour, and its coming back is enough.
func TestMQTTQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{echoes: true}
		s := b.source(nil)
		runs(t, s, untold, func() {
			<-time.After(time.Hour)
			if n := len(b.all("PUBLISH")); n != 1 || s.Trouble() != nil {
				t.Errorf("%d messages, and %v", n, s.Trouble())
			}
		})
	})
}

// A broker that hands nothing on is said to when it has had its time, which is the longer the
// more machines there are; and it is told again and again until it does.
func TestMQTTHandsNothingOn(t *testing.T) {
	for machines, patience := range map[int]time.Duration{0: 3 * time.Second, 300: 5700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := &played{}
			s := b.source(func(_ *MQTT, env *Env) {
				env.Sights = func(string) map[string]string {
					all := map[string]string{}
					for n := range machines {
						all[fmt.Sprintf("mqtt m%d", n)] = string(stands(1, nil).text())
					}
					return all
				}
			})
			runs(t, s, untold, func() {
				<-time.After(patience - time.Second/10)
				if err := s.Trouble(); err != nil {
					t.Errorf("too early, with %d machines: %v", machines, err)
				}
				<-time.After(time.Second / 5)
				if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "does not let us hear") {
					t.Errorf("with %d machines: %v", machines, err)
				}
				<-time.After(time.Minute)
				if n := len(b.all("PUBLISH")); n < 4 || n > 7 {
					t.Errorf("in a minute it is told %d times", n)
				}
			})
		})
	}
}

// A broker that does not answer is hung up on, each time later than before: who does so to a
// busy one makes it busier. Once it has answered in time it is as at first.
func TestMQTTBusyBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{kernel: reachable(t), echoes: true, ignores: []string{"PUBLISH"}}
		s := b.source(nil)
		runs(t, s, untold, func() {
			<-time.After(30 * time.Second)
			b.ignore()
			<-time.After(20 * time.Second)
			b.ignore("PUBLISH")
			before := len(b.all("PUBLISH"))
			s.Moved()
			<-time.After(30 * time.Second)
			checkPauses(t, b.all("PUBLISH")[:3], 3*time.Second, 6*time.Second)
			checkPauses(t, b.all("PUBLISH")[before:], 3*time.Second, 6*time.Second)
		})
	})
}

// reachable is a connection of the kernel's over which nothing is on its way.
func reachable(t *testing.T) syscall.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), conn.Close() })
	return conn.(*net.TCPConn)
}

// checkPauses checks the pauses between packets, which a pause between connections prolongs.
func checkPauses(t *testing.T, all []heardAt, want ...time.Duration) {
	t.Helper()
	for i, w := range want {
		if got := all[i+1].at.Sub(all[i].at); got < w || got > w+lastRetry {
			t.Errorf("the %d. pause is %s, not %s", i+1, got, w)
		}
	}
}
