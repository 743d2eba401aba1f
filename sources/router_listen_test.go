package sources

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A radio is a socket at which packets arrive without end.
type radio struct {
	net.Conn
	packet []byte
	every  time.Duration
	heard  atomic.Int32
	closed chan struct{}
}

// Read gives a packet as the kernel does: what is longer than there is room for is cut.
func (r *radio) Read(b []byte) (int, error) {
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	case <-time.After(r.every):
		r.heard.Add(1)
		return copy(b, r.packet), nil
	}
}

func (r *radio) Close() error {
	close(r.closed)
	return nil
}

// listening is an ear at a radio, and what is closed when it listens no more.
func listening(packet []byte, every time.Duration) (*ear, *radio, <-chan struct{}) {
	r, over := &radio{packet: packet, every: every, closed: make(chan struct{})}, make(chan struct{})
	e := &ear{r, make(chan struct{}), make(chan saying, 1)}
	go func() {
		defer close(over)
		e.listen()
	}()
	return e, r, over
}

// Of a flood so many announcements are heard in each second and no more, and an ear that is
// closed ends at once, also while it rests.
func TestEarInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, r, over := listening(answer(0, "198.51.100.7"), 0)
		for _, want := range []int32{earful, 2 * earful, 3 * earful} {
			if synctest.Wait(); r.heard.Load() != want {
				t.Errorf("%d are heard, not %d", r.heard.Load(), want)
			}
			time.Sleep(hearTime)
		}
		time.Sleep(hearTime / 2)
		began := time.Now()
		e.close()
		if <-over; time.Since(began) > 0 {
			t.Errorf("it ends after %s", time.Since(began))
		}
	})
}

// What comes no faster than that is all heard.
func TestEarHearsAsMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = hearTime / (earful + 1)
		e, r, over := listening(answer(0, "198.51.100.7"), every)
		if time.Sleep(time.Minute + every/2); r.heard.Load() < int32(time.Minute/hearTime*earful) {
			t.Errorf("in a minute it hears %d", r.heard.Load())
		}
		e.close()
		<-over
	})
}

// What is announced is heard if it is whole, and nothing follows it: an address by NAT-PMP, or
// by PCP that the router has begun anew.
func TestEarHearsWhatIsWhole(t *testing.T) {
	anew := make([]byte, pcpHeader)
	anew[0], anew[1] = 2, 0x80
	for name, c := range map[string]struct {
		packet []byte
		heard  bool
	}{
		"NAT-PMP": {answer(0, "198.51.100.7"), true}, "PCP": {anew, true},
		"more than PCP": {append(anew, 0), false}, "half": {answer(0, "198.51.100.7")[:6], false},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, _, over := listening(c.packet, time.Second)
			time.Sleep(time.Second)
			if synctest.Wait(); (len(e.words) == 1) != c.heard {
				t.Errorf("%s is heard: %v", name, !c.heard)
			}
			e.close()
			<-over
		})
	}
}

// What comes over another interface than the router's is not heard.
func TestEarIsAtOneInterface(t *testing.T) {
	for _, link := range []string{"lo", ""} {
		to := uplink{link: link, gateway: netip.MustParseAddr("127.0.0.1")}
		e, err := openEar(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := e.conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var at string
		controlErr := raw.Control(func(fd uintptr) {
			at, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		})
		if err != nil || controlErr != nil || at != link {
			t.Errorf("it is at %q, and not %q: %v, %v", at, link, err, controlErr)
		}
		e.close()
	}
}
