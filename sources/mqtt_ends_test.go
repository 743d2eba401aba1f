package sources

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// A wire is a connection from an address of ours, or from one that is none any more.
type wire struct {
	net.Conn
	from   string
	closed bool
}

func (w *wire) LocalAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", w.from+":4711")
	return a
}

func (w *wire) SetReadDeadline(time.Time) error { return nil }

func (w *wire) Close() error {
	w.closed = true
	return nil
}

// connect has a listener be connected, by a name of its own.
func (l *listener) connect(from string) *wire {
	w := &wire{from: from}
	l.conn, l.named, l.look = w, true, time.AfterFunc(dialTime, func() { _ = w.Close() })
	l.connected(&paho.Connack{})
	return w
}

// A connection that came about is told, and one that lasts has it forgotten how the broker
// ended others.
func TestMQTTConnectionLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.reaching, l.ended = errors.New("unreached"), errors.New("ended")
		w := l.connect("127.0.0.1")
		if l.reaching != nil || !drained(l.up) {
			t.Errorf("it is connected, and %v", l.reaching)
		}
		time.Sleep(shortTime - 1)
		if l.Trouble() == nil {
			t.Error("it is forgotten at once")
		}
		time.Sleep(dialTime)
		if synctest.Wait(); l.Trouble() != nil || w.closed {
			t.Errorf("it has lasted, and %v, closed: %v", l.Trouble(), w.closed)
		}
		l.end()
	})
}

// A broker that ends each connection soon is said to after some of them, and the others are
// unknown then; one that says why, or was stopped, is none such.
func TestMQTTConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		for n := 1; n <= manyShort; n++ {
			l.connect("127.0.0.1")
			l.many(1)
			l.lost()
			if said := l.Trouble() != nil; said != (n == manyShort) || l.Peers()[0].State != netwatch.PeerUnknown {
				t.Errorf("after %d: %v, %+v", n, l.Trouble(), l.Peers()[0])
			}
		}
		l.unreachable(fmt.Errorf("dialling: %w", syscall.ECONNREFUSED))
		if l.short != 0 || l.reaching == nil || !strings.Contains(l.reaching.Error(), "reaching the broker") {
			t.Errorf("a broker that was stopped is said to: %v, after %d", l.reaching, l.short)
		}
		slow := l.slow
		if l.unreachable(fmt.Errorf("waiting: %w", os.ErrDeadlineExceeded)); l.slow != slow+1 {
			t.Errorf("it was slow %d times", l.slow)
		}
		l.ended = nil
		for code, want := range map[byte]bool{
			0x80: true, 0x7f: false, packets.DisconnectServerShuttingDown: false, packets.DisconnectSessionTakenOver: true,
		} {
			l.explained, l.ended = false, nil
			if l.thrownOut(code); !l.explained || (l.ended != nil) != want {
				t.Errorf("%#x: %v", code, l.ended)
			}
		}
	})
}

// One from an address that this machine has no more is left, and only that.
func TestMQTTLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.leave()
		l.ended = errors.New("ended")
		for from, want := range map[string]bool{"127.0.0.1": false, "192.0.2.77": true} {
			w := l.connect(from)
			if l.leave(); w.closed != want || (l.lasts == nil) != want {
				t.Errorf("from %s it is left: %v", from, w.closed)
			}
			l.lost()
		}
		if time.Sleep(shortTime + 1); l.ended == nil {
			t.Error("one that was left is taken for one that has lasted")
		}
		if l.short != 1 {
			t.Errorf("%d of them count as ended by the broker", l.short)
		}
		refused := func() error {
			return &autopaho.ConnackError{ReasonCode: packets.ConnackInvalidClientID, Err: errors.New("refused")}
		}
		l.named, l.reaching = false, nil
		if l.unreachable(refused()); l.reaching != nil || !l.named || l.names != netwatch.Unanswered {
			t.Errorf("that it wants a name is told: %v", l.reaching)
		}
		if l.unreachable(refused()); l.reaching == nil {
			t.Error("that it refuses that name is not told")
		}
	})
}
