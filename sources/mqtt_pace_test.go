package sources

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A broker that dies before it has answered has what we say as soon as there is another
// connection, which nobody ends because of the first.
func TestMQTTDiesUnanswered(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{assigns: "self"})
	b.ends.Store(2)
	s := connectedTo(t, b, &MQTT{})
	b.next(t, "publish")
	began := time.Now()
	b.next(t, "publish")
	b.next(t, "publish")
	if took := time.Since(began); took > brokerTime-time.Second {
		t.Errorf("it was said again after %s", took)
	}
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Who comes back says first what it is: what all others are keeps a busy broker for long. Who
// does not know what it said last hears that first.
func TestMQTTSaysFirst(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{assigns: "self"})
	s := connectedTo(t, b, &MQTT{})
	for _, want := range []string{"connect", "subscribe", "publish"} {
		if got := <-b.said; !strings.HasPrefix(got, want) {
			t.Errorf("it says %s", got)
		}
	}
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	b.next(t, "publish")
	s.hangUp()
	for _, want := range []string{"connect", "publish", "subscribe"} {
		if got := <-b.said; !strings.HasPrefix(got, want) {
			t.Errorf("when it comes back it says %s", got)
		}
	}
}

// The more machines there are, and the more often a broker was too slow, the longer it may
// take; with few it is as long as ever.
func TestMQTTPatience(t *testing.T) {
	l := newListener(t, map[string]string{})
	for _, c := range []struct {
		machines, slow int
		least, most    time.Duration
	}{
		{3, 0, brokerTime, brokerTime + time.Second/10},
		{3, 2, 4 * brokerTime, 5 * brokerTime},
		{1000, 0, 30 * time.Second, 40 * time.Second},
		{maxPeers, 1000, mostTime, mostTime},
	} {
		l.slow = c.slow
		for n := range c.machines {
			l.peers.by[fmt.Sprint(n)] = &peer{}
		}
		if got := l.patience(); got < c.least || got > c.most {
			t.Errorf("%+v: it may take %s", c, got)
		}
	}
}

// A machine whose kernel has taken what we sent is there, however long its program takes; one
// that does not answer at all is not.
func TestUnheard(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); unheard(conn) && time.Now().Before(until); {
		<-time.After(time.Millisecond) // Its kernel says so at once, or soon
	}
	if unheard(conn) {
		t.Error("a program that reads nothing is taken for a machine that is not there")
	}
	_ = conn.Close()
	if !unheard(conn) {
		t.Error("a connection that is closed is heard")
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	for what, conn := range map[string]net.Conn{"never made": &net.TCPConn{}, "not the kernel's": ours} {
		if !unheard(conn) {
			t.Errorf("a connection that is %s is heard", what)
		}
	}
}

// Who may have missed something asks for everything again: when more came at once than a
// broker keeps, though nothing of it had to wait, and during a flood now and then. What the
// broker sends because it was asked is none.
func TestMissedIsAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		retained bool
		messages int
		wanted   bool
	}{
		"as many as a broker keeps": {false, keptBurst, false},
		"more":                      {false, keptBurst + 10, true},
		"what was asked for":        {true, 3 * keptBurst, false},
	} {
		l := newListener(t, map[string]string{})
		for range c.messages {
			l.received(&paho.Publish{Topic: "netwatch/a/state", Retain: c.retained})
		}
		l.peers.asked = time.Now().Add(-askAnyway)
		l.peers.calm()
		select {
		case <-l.up:
			if !c.wanted {
				t.Errorf("%s: all is asked for again", name)
			}
		default:
			if c.wanted {
				t.Errorf("%s: nothing is asked for", name)
			}
		}
	}
}

// Of many machines that are new, or change, at once is told together: as many wait for the
// state as may be told of at once, so that one write of it has them all.
func TestManyAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		var waiting atomic.Int32
		disk, see := make(chan struct{}), l.peers.env.See
		l.peers.env.See = func(event, of, value string) error {
			waiting.Add(1)
			<-disk
			return see(event, of, value)
		}
		for n := range 3 * tellAtOnce {
			l.peers.deliver(fmt.Sprint("h", n), stands(1, nil).text())
		}
		go l.peers.look(func(netwatch.Event) error { return nil })
		for range 3 {
			synctest.Wait()
			if n := waiting.Swap(0); n != tellAtOnce {
				t.Errorf("%d are told of at once", n)
			}
			for range tellAtOnce {
				disk <- struct{}{}
			}
		}
	})
}

// That the broker is gone, the kernel notices within 16 seconds, though nobody says anything.
func TestKernelLooksAfterTheBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := (&MQTT{Broker: Broker("mqtt://" + l.Addr().String())}).Source("mqtt", Env{}).(*mqtt)
	conn, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.TCP_KEEPIDLE: 10, unix.TCP_KEEPINTVL: 2, unix.TCP_KEEPCNT: 3} {
		got := 0
		controlErr := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) })
		if err != nil || controlErr != nil || got != want {
			t.Errorf("option %d is %d, not %d: %v, %v", option, got, want, err, controlErr)
		}
	}
}
