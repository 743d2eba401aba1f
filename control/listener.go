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

// After shutOutAtOnce callers were shut out, nobody is let in for shutOutPause:
// somebody who connects without end would keep the daemon busy without end.
const (
	shutOutAtOnce = 32
	shutOutPause  = 5 * time.Millisecond
)

// maxLines is how many lines a user without privileges may send: more than a request
// has. Each header takes memory, however short it is.
const maxLines = 128

var errTooManyLines = errors.New("it has too many lines")

// A listener accepts connections to a socket, and knows who connects.
type listener struct {
	*net.UnixListener
	visitors *visitors
	shutOut  int
}

// Accept returns the next connection whose user may have one more. Only one goroutine
// may call it.
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

// Read reads what the caller sends. A caller without privileges may send maxLines
// lines.
func (c *knownConn) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if c.lines.Add(int64(bytes.Count(b[:n], []byte("\n")))) > maxLines && !c.peer.privileged() {
		return 0, errTooManyLines
	}
	return n, err
}

// Close closes the connection. Closing it again does nothing.
func (c *knownConn) Close() error { return c.close() }
