package simulate

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A wire is one end of a connection. Unlike that of net.Pipe a Write never waits: who
// writes may hold a lock, and for a lock a bubble's time does not pass.
type wire struct {
	other *wire
	from  net.Addr
	to    net.Addr

	mu       sync.Mutex
	in       []byte
	ended    bool // by either side
	deadline time.Time
	// woken has room for one.
	woken chan struct{}
}

// newWires are both ends of a connection.
func newWires(from, to net.Addr) (ours, theirs *wire) {
	ours, theirs = &wire{from: from, to: to, woken: make(chan struct{}, 1)}, &wire{woken: make(chan struct{}, 1)}
	ours.other, theirs.other = theirs, ours
	return ours, theirs
}

func (c *wire) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// Read reads what has come, or waits for it. One alone reads.
func (c *wire) Read(to []byte) (int, error) {
	for {
		c.mu.Lock()
		n, ended, left := copy(to, c.in), c.ended, time.Until(c.deadline)
		c.in = c.in[n:]
		waits := c.deadline.IsZero()
		c.mu.Unlock()
		var due <-chan time.Time
		switch {
		case n > 0:
			return n, nil
		case ended:
			return 0, io.EOF
		case !waits && left <= 0:
			return 0, os.ErrDeadlineExceeded
		case !waits:
			due = time.After(left)
		}
		select {
		case <-c.woken:
		case <-due:
		}
	}
}

// Write hands it to the other end.
func (c *wire) Write(text []byte) (int, error) {
	c.other.mu.Lock()
	defer c.other.mu.Unlock()
	if c.other.ended {
		return 0, net.ErrClosed
	}
	c.other.in = append(c.other.in, text...)
	c.other.wake()
	return len(text), nil
}

// Close ends both.
func (c *wire) Close() error {
	for _, end := range []*wire{c, c.other} {
		end.mu.Lock()
		end.ended = true
		end.wake()
		end.mu.Unlock()
	}
	return nil
}

// LocalAddr is where it begins, and RemoteAddr where it ends.
func (c *wire) LocalAddr() net.Addr { return c.from }

// RemoteAddr is where it ends.
func (c *wire) RemoteAddr() net.Addr { return c.to }

// SetDeadline is SetReadDeadline.
func (c *wire) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline is until when Read waits.
func (c *wire) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.wake()
	return nil
}

// SetWriteDeadline does nothing: nothing waits.
func (c *wire) SetWriteDeadline(time.Time) error { return nil }
