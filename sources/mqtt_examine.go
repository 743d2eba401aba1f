package sources

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// noMachine is the name of none: none has a capital in it. What is said by it, or to it,
// is heard by none.
const noMachine = "Nobody"

// aboutNobody are where we would ask that one, and answer it.
func (s *mqtt) aboutNobody() []string {
	host := string(s.settings.Host)
	return []string{s.settings.Topic.aside(host, asks, noMachine), s.settings.Topic.aside(host, answers, noMachine)}
}

// Examine looks what the broker would let a machine do that it should not. It changes
// nothing for others: what it says is said as nobody, and to nobody.
func (s *mqtt) Examine(ctx context.Context) netwatch.Broker {
	m := s.settings
	b := netwatch.Broker{
		Source: s.name, Broker: string(m.Broker), Host: string(m.Host), User: m.user(), Topic: string(m.Topic),
	}
	if m.Broker.tls() {
		b.Until, b.Certificate = s.served(ctx)
	}
	s.mu.Lock()
	manager := s.manager
	b.Names, b.Open = s.names, !m.Broker.tls() && !near(s.conn)
	s.mu.Unlock()
	if manager != nil {
		b.Speaks = may(ctx, manager, m.Topic.state(noMachine))
		b.Overhears = s.overhears(ctx, manager)
	}
	return b
}

// served is until when the certificate is good that the broker has now, which is not
// always that of a connection which was made long ago; or why nobody could believe it.
func (s *mqtt) served(ctx context.Context) (until time.Time, wrong string) {
	conn, err := s.dial(ctx)
	if bad := new(tls.CertificateVerificationError); errors.As(err, &bad) {
		return time.Time{}, bad.Error()
	}
	if err != nil { // That it is not reached is said elsewhere
		return time.Time{}, ""
	}
	defer conn.Close()
	if c, is := conn.(*tls.Conn); is {
		until = c.ConnectionState().PeerCertificates[0].NotAfter
	}
	return until, ""
}

// near says whether the other end of a connection is on this machine or in a private
// network; of none that is not known.
func near(conn net.Conn) bool {
	if conn == nil {
		return true
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && private(at.Addr().Unmap())
}

func private(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() }

// may says whether the broker takes what we say there: nothing, which it does not keep.
func may(ctx context.Context, to *autopaho.ConnectionManager, topic string) netwatch.Answer {
	ctx, cancel := context.WithTimeout(ctx, brokerTime)
	defer cancel()
	short := uint32(1)
	answer, err := to.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: topic, Properties: &paho.PublishProperties{MessageExpiry: &short},
	})
	if answer == nil {
		return netwatch.Unanswered
	}
	return netwatch.AnswerOf(err == nil)
}

// overhears says whether we hear what is said to another alone. What we say to all comes
// back after what was said before it, and so shows that the other has not come.
func (s *mqtt) overhears(ctx context.Context, m *autopaho.ConnectionManager) netwatch.Answer {
	said := s.aboutNobody()
	ctx, cancel := context.WithTimeout(ctx, brokerTime)
	defer cancel()
	s.mu.Lock()
	s.overheard = false
	s.mu.Unlock()
	var all []paho.SubscribeOptions
	for _, topic := range said {
		all = append(all, paho.SubscribeOptions{Topic: topic, QoS: 1})
	}
	if _, err := m.Subscribe(ctx, &paho.Subscribe{Subscriptions: all}); err != nil && ctx.Err() == nil &&
		!errors.Is(err, autopaho.ConnectionDownError) {
		return netwatch.No // It says itself that we may not
	}
	defer func() { _, _ = m.Unsubscribe(ctx, &paho.Unsubscribe{Topics: said}) }()
	done := may(ctx, m, said[0]) == netwatch.Yes && may(ctx, m, said[1]) == netwatch.Yes && s.say(ctx) == nil &&
		s.hearsItself(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !done && !s.overheard {
		return netwatch.Unanswered
	}
	return netwatch.AnswerOf(s.overheard)
}

// hearsItself waits until what we said last has come back.
func (s *mqtt) hearsItself(ctx context.Context) bool {
	s.mu.Lock()
	back := s.back
	s.mu.Unlock()
	if back == nil {
		return true
	}
	select {
	case <-back:
		return true
	case <-ctx.Done():
		return false
	}
}

// witness notes what comes of what we said ourselves.
func (s *mqtt) witness(topic string, message []byte) {
	s.mu.Lock()
	hears := topic == s.topic() && s.back != nil && bytes.Equal(message, s.said)
	if hears {
		close(s.back)
		s.back = nil
	}
	s.overheard = s.overheard || slices.Contains(s.aboutNobody(), topic)
	again := hears && s.deaf != nil
	s.mu.Unlock()
	if again {
		s.trouble(&s.deaf, nil)
	}
}

// sayNow notes what is to come back.
func (s *mqtt) sayNow(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said, s.saidAt = text, time.Now()
	if s.back == nil {
		s.back = make(chan struct{})
	}
}

// listens looks whether the broker has taken what we said, and let us hear it: otherwise we
// would not hear others either. It returns after what time to look again, or zero; less says
// that all is to be said again.
func (s *mqtt) listens() (wait time.Duration) {
	patience := s.patience()
	s.mu.Lock()
	pending, refused, left := s.back != nil, s.writing != nil, patience-time.Since(s.saidAt)
	s.mu.Unlock()
	switch {
	case !pending && !refused:
		return 0
	case pending && !refused && left > 0:
		return left
	case pending && !refused && s.peers.flooded.Load(): // Then it comes late
		return patience
	case !refused:
		s.trouble(&s.deaf, s.unheard())
	}
	return -1
}

func (s *mqtt) unheard() error {
	all := s.settings.Topic.state("+")
	return netwatch.WithHint(fmt.Errorf("the broker %s does not let us hear what is said at %s", s.settings.Broker, all),
		netwatch.BrokerRights(string(s.settings.Topic)))
}
