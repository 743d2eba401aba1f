package control

import (
	"net"
	"sync"
)

// maxPerUser is how many connections a user without privileges may have open at
// once; those beyond are closed. So nobody can take what the others need, and
// what many OpenVPN scripts say while netwatch hangs is not lost.
const maxPerUser = 256

// A listener knows who connects.
type listener struct {
	*net.UnixListener
	effort *effort

	mu   sync.Mutex
	open map[uint32]int // connections by user
	all  int            // connections
}

// Close ends the listening, not the connections.
func (l *listener) Close() error {
	l.effort.stop()
	return l.UnixListener.Close()
}

// A knownConn is a connection and who is at its other end.
type knownConn struct {
	*net.UnixConn
	peer  peer
	close func() error
}

// Close closes the connection; to do it again does nothing.
func (c *knownConn) Close() error { return c.close() }

// Accept returns the next connection that its user may have.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil || !l.admit(p) {
			_ = c.Close()
			continue
		}
		return &knownConn{c, p, sync.OnceValue(func() error {
			l.leave(p)
			return c.Close()
		})}, nil
	}
}

func (l *listener) admit(p peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[p.uid] >= maxPerUser && !p.privileged() {
		return false
	}
	l.open[p.uid]++
	l.all++
	l.effort.callers(l.all)
	return true
}

func (l *listener) leave(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[p.uid]--; l.open[p.uid] == 0 {
		delete(l.open, p.uid)
	}
	l.all--
	l.effort.callers(l.all)
}
