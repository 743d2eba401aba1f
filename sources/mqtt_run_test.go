package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// A machine that is served asks over the broker, and is answered over it once it was looked at.
func TestServedOverTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{echoes: true}
		s := b.source(func(m *MQTT, env *Env) {
			m.Serve, env.Outside = []PeerName{"a"}, (&member{sees: netwatch.WordOK}).look
			env.Known = func() netwatch.Addresses { return netwatch.Addresses{netwatch.IPv4: {Address: host(1)}} }
		})
		s.serving.networks = func() []netip.Prefix { return nil }
		there := netip.MustParseAddr("198.51.100.7")
		runs(t, s, untold, func() {
			<-time.After(time.Second)
			b.push(b.theirs[0], "netwatch/a/state", stands(1, func(w *bulletin) {
				w.Addresses = netwatch.Addresses{netwatch.IPv4: {Address: there}}
			}).text())
			<-time.After(standTime + time.Second)
			ask, err := json.Marshal(request{"abcdefghij", at(there.String(), 3478)})
			if err != nil {
				t.Fatal(err)
			}
			b.push(b.theirs[0], "netwatch/a/ask/self", ask)
			<-time.After(time.Second)
			want := `PUBLISH netwatch/self/answer/a {"id":"abcdefghij","ways":["ok"],"relay":"ok"}`
			if n := len(b.all(want)); n != 1 {
				t.Errorf("it is answered %d times: %+v", n, b.all("PUBLISH"))
			}
		})
	})
}

// What comes is for whom its topic says; what is for another machine, or was kept although it
// is for us alone, is for nobody.
func TestReceivedIsForWhomItSays(t *testing.T) {
	for topic, want := range map[string]string{
		"netwatch/a/ask/self": "ask", "netwatch/a/answer/self": "answer", "netwatch/a/ask/b": "", "netwatch/a/answer/b": "",
		"netwatch/a/state": "state", "netwatch/a/other/self": "",
	} {
		for _, retained := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				l, _ := logging(t)
				l.settings.Serve, l.env.Outside = []PeerName{"a"}, new(member).look
				answered := make(chan *asked, 1)
				l.asking.waiting["abcdefghij"] = &asked{peer: "a", got: answered}
				l.received(&paho.Publish{Topic: topic, Retain: retained, Payload: []byte(`{"id":"abcdefghij","relay":"ok"}`)})
				got := ""
				switch {
				case len(answered) > 0:
					got = "answer"
				case len(l.serving.inbox) > 0:
					got = "ask"
				case len(l.peers.inbox) > 0:
					got = "state"
				}
				if kept := retained && want != "state"; got != want && !kept || kept && got != "" {
					t.Errorf("%s, kept %v, is taken for %q", topic, retained, got)
				}
			})
		}
	}
}

// Of asks and answers no more are read than of what machines say of themselves.
func TestAsidesInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		began := time.Now()
		for range floodBurst + floodRate {
			l.received(&paho.Publish{Topic: "netwatch/a/ask/b"})
		}
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("the flood was read within %s", took)
		}
	})
}

// When this machine has another address, the connection from the one before is dead, and is
// not waited for: what is told then is told over a new one.
func TestMQTTMoves(t *testing.T) {
	for name, tell := range map[string]func(*mqtt) error{
		"it moved": func(s *mqtt) error { s.Moved(); return nil },
		"it tells": func(s *mqtt) error { return s.Tell(context.Background(), nil) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &played{echoes: true}
			s := b.source(nil)
			runs(t, s, untold, func() {
				<-time.After(time.Minute)
				b.mu.Lock()
				b.here = host(2)
				b.mu.Unlock()
				if err := tell(s); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				<-time.After(time.Second)
				for _, p := range b.all("PUBLISH")[1:] {
					if p.over != 2 {
						t.Errorf("%s: over the connection number %d it is said %s", name, p.over, p.text)
					}
				}
				if n := len(b.all("CONNECT")); n != 2 {
					t.Errorf("%s: it is connected %d times", name, n)
				}
			})
		})
	}
}

// A broker that does not say that it lets us hear others is connected to anew.
func TestMQTTUnansweredSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{kernel: reachable(t), echoes: true, ignores: []string{"SUBSCRIBE"}}
		s := b.source(nil)
		runs(t, s, untold, func() {
			<-time.After(brokerTime + lastRetry)
			if n := len(b.all("CONNECT")); n != 2 {
				t.Errorf("it is connected %d times", n)
			}
			b.ignore()
			<-time.After(time.Minute)
			if err := s.Trouble(); err != nil {
				t.Error(err)
			}
		})
	})
}

// Who tells something while the connection is being made waits for it a while, and hears
// then that there is none.
func TestMQTTTellsWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for dials, want := range map[time.Duration]string{
			2 * time.Second: "",
			time.Hour:       "there is no connection now: the broker mqtt://b is being connected to",
		} {
			b := &played{dials: dials, echoes: true}
			s := b.source(nil)
			runs(t, s, untold, func() {
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), awaitTime+time.Second)
				defer cancel()
				err := s.Tell(ctx, nil)
				if (err == nil) != (want == "") {
					t.Errorf("of one that is reached in %s: %v", dials, err)
				}
				if err != nil && (err.Error() != want || !strings.Contains(netwatch.Hint(err), "tries by itself")) {
					t.Errorf("%v; %s", err, netwatch.Hint(err))
				}
			})
		}
	})
}

// One who tells something while the broker is not reached hears why.
func TestMQTTTellsUnreached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{}
		s := b.source(nil)
		s.unreachable(fmt.Errorf("failed to connect: %w", fmt.Errorf("dialling: %w", syscall.ECONNREFUSED)))
		want := "there is no connection now: reaching the broker mqtt://b: dialling: connection refused"
		if err := s.unconnected(); err.Error() != want || !strings.Contains(netwatch.Hint(err), "whether the broker runs") {
			t.Errorf("%v; %s", err, netwatch.Hint(err))
		}
	})
}

// A source that ends waits for who takes its last event, and who tells something afterwards
// hears that it has ended.
func TestMQTTEndsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{echoes: true}
		s := b.source(nil)
		taking, over := make(chan struct{}), make(chan struct{})
		emit := func(netwatch.Event) error {
			close(taking)
			<-time.After(time.Minute)
			close(over)
			return nil
		}
		runs(t, s, emit, func() {
			<-time.After(time.Second)
			for n := range int64(2) {
				b.push(b.theirs[0], "netwatch/a/state", stands(1+n, func(w *bulletin) {
					w.Addresses = netwatch.Addresses{netwatch.IPv4: {Address: host(int(2 + n))}}
				}).text())
				<-time.After(time.Second)
			}
			<-taking
		})
		select {
		case <-over:
		default:
			t.Error("it ends before its last event is taken")
		}
		if err := s.Tell(t.Context(), nil); !errors.Is(err, errStopped) {
			t.Errorf("what is told after the end: %v", err)
		}
	})
}

// At the end, a broker that reads nothing any more is not waited for longer than for an answer.
func TestMQTTEndsAtADeafBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &played{echoes: true}
		s := b.source(nil)
		var began time.Time
		runs(t, s, untold, func() {
			<-time.After(time.Second)
			b.mu.Lock()
			b.stops = []string{"PUBLISH"}
			b.mu.Unlock()
			s.Moved()
			synctest.Wait()
			began = time.Now()
		})
		if took := time.Since(began); took > brokerTime {
			t.Errorf("it ends after %s", took)
		}
		if _, err := b.theirs[0].Write([]byte{0}); err == nil {
			t.Error("the connection is still there")
		}
	})
}

// A counted context has so many who wait for its end.
type counted struct {
	context.Context
	ends chan struct{}
	mu   sync.Mutex
	n    int
}

func (c *counted) Done() <-chan struct{} { return c.ends }

func (c *counted) add(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	return true
}

// AfterFunc is called by package context for each who waits.
func (c *counted) AfterFunc(func()) func() bool {
	c.add(1)
	return func() bool { return c.add(-1) }
}

// A curious connection counts how often the kernel is asked about it.
type curious struct {
	lead
	asked int
}

func (c *curious) SyscallConn() (syscall.RawConn, error) {
	c.asked++
	return nil, errSilent
}

// Of what the broker was asked, and has answered, nothing is left, however long the connection
// lasts.
func TestRequestsLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		lives, conn := &counted{Context: context.Background(), ends: make(chan struct{})}, &curious{}
		l.lives, l.conn = lives, conn
		r := l.request(t.Context())
		if r.Err() != nil || lives.n != 1 {
			t.Errorf("%d wait while it is asked: %v", lives.n, r.Err())
		}
		r.end()
		if r.Err() == nil || lives.n != 0 {
			t.Errorf("%d wait: %v", lives.n, r.Err())
		}
		if <-time.After(time.Minute); conn.asked > 0 {
			t.Errorf("the kernel is asked %d times", conn.asked)
		}
	})
}

// A broker whose machine does not have what was sent is not waited for as one that is busy.
func TestUnreachedIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.slow = 3
		for conn, want := range map[net.Conn]time.Duration{
			&lead{}: brokerTime, &wired{Conn: reachable(t)}: 8 * brokerTime,
		} {
			l.conn = conn
			began, r := time.Now(), l.request(t.Context())
			<-r.Done()
			if took := time.Since(began); took != want {
				t.Errorf("it is waited for %s, and not %s", took, want)
			}
			r.end()
		}
	})
}
