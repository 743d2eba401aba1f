package control

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"netwatch/access"
)

// After so many who were shut out, so long nobody is let in: who knocks without
// end would have us open and shut without end.
const (
	shutOutAtOnce = 32
	shutOutPause  = 5 * time.Millisecond
)

// maxLines is how many lines a user without privileges may send: more than a
// request has. Each header takes memory, however short it is.
const maxLines = 128

var errTooManyLines = errors.New("it has too many lines")

// A listener knows who connects to a socket.
type listener struct {
	*net.UnixListener
	visitors *visitors
	shutOut  int
}

// Accept returns the next connection that its user may have. It is for one
// goroutine.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := access.PeerOf(c)
		if err == nil {
			if leave, ok := l.visitors.admit(peer(p)); ok {
				return newConn(c, peer(p), leave), nil
			}
		}
		_ = c.Close()
		if l.shutOut++; l.shutOut%shutOutAtOnce == 0 {
			<-time.After(shutOutPause)
		}
	}
}

// A knownConn is a connection and who is at its other end.
type knownConn struct {
	*net.UnixConn
	peer  peer
	lines atomic.Int64
	close func() error
}

func newConn(c *net.UnixConn, p peer, leave func()) *knownConn {
	return &knownConn{UnixConn: c, peer: p, close: sync.OnceValue(func() error {
		leave()
		return c.Close()
	})}
}

// Read reads what the caller sends, of which so much is enough.
func (c *knownConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if c.lines.Add(int64(bytes.Count(b[:n], []byte("\n")))) > maxLines && !c.peer.privileged() {
		return 0, errTooManyLines
	}
	return n, err
}

// Close closes the connection; to do it again does nothing.
func (c *knownConn) Close() error { return c.close() }
