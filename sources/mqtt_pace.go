package sources

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eachTime is how long a broker takes to send one message. When all machines come back
	// to it at once, or change, it sends each what each says.
	eachTime = 30 * time.Microsecond
	// closeTime is how long the end of a connection may take.
	closeTime = time.Second
	// mostTime is how long it may take for anything.
	mostTime = time.Minute
)

// enter says what we are over a new connection, and asks what the others are. What we say
// comes first: a broker to which a thousand come back has a million messages to send when all
// have asked. Who does not know what he said last asks first, and hears it.
func (s *mqtt) enter(ctx context.Context) (said error) {
	s.mu.Lock()
	forgot := s.forgot
	s.mu.Unlock()
	if !forgot {
		said = s.say(ctx)
	}
	s.trouble(&s.hearing, s.subscribe(ctx))
	if forgot {
		said = s.say(ctx)
	}
	s.mu.Lock()
	s.forgot = forgot && said != nil
	s.mu.Unlock()
	return said
}

// patience is how long the broker may take for the next answer: the longer the more machines
// there are, and longer than when it did not answer. Who hangs up on one that is busy, and
// comes back, makes it busier.
func (s *mqtt) patience() time.Duration {
	all := time.Duration(s.peers.count())
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(mostTime, (brokerTime+all*all*eachTime)<<min(s.slow, 8))
}

// dialled notes a connection, over which is now said with which number it began, and bounds
// how long the broker may take to say that we are connected. One to which a thousand come at
// once has its kernel leave out some, as if they were not there: these come again.
func (s *mqtt) dialled(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(s.patience())) // A connection that has ended says so by itself
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.reserved = conn, false
	s.look = time.AfterFunc(brokerTime, func() {
		if unheard(conn) {
			_ = conn.SetReadDeadline(time.Now())
		}
	})
}

// A brokerRequest is a context for what the broker is asked over one connection. It ends when the
// connection is lost, which the library does not say to who waits, and when the broker has
// had its time for an answer or is not reached any more.
type brokerRequest struct {
	context.Context
	conn  net.Conn
	lost  context.Context
	asked time.Time
	end   func()
}

// request begins one. Whoever does calls its end.
func (s *mqtt) request(ctx context.Context) brokerRequest {
	patience := s.patience()
	s.mu.Lock()
	r := brokerRequest{conn: s.conn, lost: s.lives, asked: time.Now()}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	stop := context.AfterFunc(r.lost, cancel)
	look := time.AfterFunc(brokerTime, func() {
		if unheard(r.conn) {
			cancel()
		}
	})
	r.Context = ctx
	r.end = func() {
		look.Stop()
		stop()
		cancel()
	}
	return r
}

// unheard says whether the broker's machine does not say that it has what we sent. Its kernel
// does, however busy the broker is.
func unheard(conn net.Conn) bool {
	if t, is := conn.(*tls.Conn); is {
		conn = t.NetConn()
	}
	c, is := conn.(syscall.Conn)
	if !is {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	waiting := true
	_ = raw.Control(func(fd uintptr) { // If it is closed, it is not heard
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		waiting = err != nil || info.Unacked > 0
	})
	return waiting
}

// answered notes that the broker has answered.
func (s *mqtt) answered(r brokerRequest) {
	if time.Since(r.asked) < brokerTime {
		s.mu.Lock()
		s.slow = 0
		s.mu.Unlock()
	}
}

// tooSlow ends the connection of one that was not answered in time, and waits until that is
// noticed: who then says the same once more is to say it over the next one.
func (s *mqtt) tooSlow(r brokerRequest) {
	s.slower()
	s.mu.Lock()
	s.explained = true
	s.mu.Unlock()
	if r.conn != nil {
		_ = r.conn.Close() // It may be closed
	}
	select {
	case <-r.lost.Done():
	case <-time.After(closeTime):
	}
}

// slower notes that the broker did not answer in time.
func (s *mqtt) slower() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow++
}

// unanswered notes that the broker took a connection and did not say in time that we are
// connected, if that is what an error says.
func (s *mqtt) unanswered(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.slower()
	}
}
