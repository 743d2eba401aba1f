package sources

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eachTime is how long a broker takes to send one message. When all machines come back
	// to it at once, or change, it sends each what each says.
	eachTime = 30 * time.Microsecond
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

// within is a context that ends when the broker has had its time for an answer, or when it is
// not reached any more.
func (s *mqtt) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	look := time.AfterFunc(brokerTime, func() {
		if s.unheard() {
			cancel()
		}
	})
	return ctx, func() {
		look.Stop()
		cancel()
	}
}

// unheard says whether the broker's machine does not say that it has what we sent. Its kernel
// does, however busy the broker is.
func (s *mqtt) unheard() bool {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
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

// answered notes that the broker has answered what it was asked at a time.
func (s *mqtt) answered(asked time.Time) {
	if time.Since(asked) < brokerTime {
		s.mu.Lock()
		s.slow = 0
		s.mu.Unlock()
	}
}

// tooSlow ends the connection, because the broker did not answer in time.
func (s *mqtt) tooSlow() {
	s.mu.Lock()
	s.slow++
	s.mu.Unlock()
	s.hangUp()
}

// unanswered notes that the broker took a connection and did not say in time that we are
// connected, if that is what an error says.
func (s *mqtt) unanswered(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.tooSlow()
	}
}
