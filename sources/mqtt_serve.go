package sources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
)

// servesAMinute is how many asks are looked at in a minute, of all machines. Since each ends
// soon, there are never more at once.
const servesAMinute = 10

// serving is what other machines ask one source, and what it does about that.
type serving struct {
	*mqtt
	// wakes has run look at what has come.
	wakes chan struct{}
	// networks are those of this machine's interfaces; a test has others.
	networks func() []netip.Prefix

	mu sync.Mutex // guards what follows
	// inbox is the newest ask of each machine that we serve.
	inbox map[string][]byte
	// last is the newest ask of each that was looked at, and when; begun are all of those
	// of the last minute.
	last  map[string]served
	begun []time.Time
	// refused is what was said last of each that was not served, and note of the newest.
	refused map[string]string
	note    string
	// nonsense is of whom the log has an ask that is none; it is run's own.
	nonsense seldom
}

// A served is an ask that was looked at.
type served struct {
	id string
	at time.Time
	// turnedAway says that another one was told since then that it comes too soon.
	turnedAway bool
}

func newServing(s *mqtt) *serving {
	return &serving{
		mqtt: s, wakes: make(chan struct{}, 1), networks: ownNetworks,
		inbox: map[string][]byte{}, last: map[string]served{}, refused: map[string]string{},
		nonsense: seldom{},
	}
}

// ownNetworks are the networks that this machine is in.
func ownNetworks() (all []netip.Prefix) {
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, segment(p))
		}
	}
	return all
}

// segment is that of an interface's address. One of IPv6 that is given alone (DHCPv6) is in a
// network of 64 bits all the same, of which the routes alone tell.
func segment(p netip.Prefix) netip.Prefix {
	if p.Addr().Is6() {
		p = netip.PrefixFrom(p.Addr(), min(p.Bits(), 64))
	}
	return p.Masked()
}

// deliver takes an ask for the next look, if it is of a machine that we serve.
func (s *serving) deliver(from string, message []byte) {
	if !slices.Contains(s.settings.Serve, PeerName(from)) || s.env.Outside == nil {
		s.refuse(from, errors.New("it is not in serve"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(message) > maxAsk {
		message = message[:maxAsk+1] // It is dropped, with a word
	}
	s.inbox[from] = message
	wake(s.wakes)
}

// run serves until ctx is done, and returns when nobody is served any more.
func (s *serving) run(ctx context.Context) {
	var looks sync.WaitGroup
	defer looks.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wakes:
		}
		s.mu.Lock()
		inbox := s.inbox
		s.inbox = map[string][]byte{}
		s.mu.Unlock()
		for _, from := range slices.Sorted(maps.Keys(inbox)) {
			looks.Go(s.take(ctx, from, inbox[from]))
		}
		select {
		case <-ctx.Done():
		case <-time.After(readingPause):
		}
	}
}

// take decides on an ask, and returns what is to be done because of it: nothing if it is
// none, or the same again.
func (s *serving) take(ctx context.Context, from string, message []byte) func() {
	a, err := parseAsk(message)
	if err != nil && s.nonsense.may(from) {
		s.refuse(from, fmt.Errorf("it is not understood: %w", err))
	}
	if err != nil {
		return func() {}
	}
	switch err := s.admit(from, a); {
	case errors.Is(err, errAnswered):
		return func() {}
	case err != nil:
		s.refuse(from, err)
		return func() { s.answer(ctx, from, reply{a.ID, busy(a.Place)}) }
	}
	return func() { s.answer(ctx, from, reply{a.ID, s.look(ctx, from, a.Place)}) }
}

// look looks at a place.
func (s *serving) look(ctx context.Context, from string, p netwatch.Place) netwatch.Seen {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	seen, err := s.env.Outside(ctx, p)
	if err != nil {
		s.refuse(from, err)
		return busy(p)
	}
	s.did(from, seen)
	return seen
}

// errAnswered says that there is nothing to answer any more.
var errAnswered = errors.New("it is answered")

// admit says why an ask is not looked at: the machine has asked within a minute, too many
// have, or nothing may be sent where it has us look. Whatever it asks, it has asked then.
func (s *serving) admit(from string, a request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	last, was := s.last[from]
	if since := now.Sub(last.at); was && since < askPause {
		if last.id == a.ID || last.turnedAway {
			return errAnswered // The broker may hand one over twice
		}
		last.turnedAway = true
		s.last[from] = last
		return fmt.Errorf("it asked %d s ago, and may once a minute", int(since/time.Second))
	}
	s.last[from] = served{id: a.ID, at: now}
	if err := s.permit(from, a.Place); err != nil {
		return err
	}
	s.begun = slices.DeleteFunc(s.begun, func(at time.Time) bool { return now.Sub(at) >= askPause })
	if len(s.begun) >= servesAMinute {
		return fmt.Errorf("%d others asked within the last minute", len(s.begun))
	}
	s.begun = append(s.begun, now)
	return nil
}

// permit says why nothing is sent to a place.
func (s *serving) permit(from string, p netwatch.Place) error {
	family, known := netwatch.FamilyOf(p.Address), s.env.Known()
	stood, said := s.peers.stood(from, p.Address)
	own := func(n netip.Prefix) bool { return n.Contains(p.Address) }
	switch err := netwatch.CheckPublic(p.Address, nil); {
	case !said:
		return fmt.Errorf("%s is not the address that it has said", p.Address)
	case err != nil:
		return err
	case stood < standTime:
		return fmt.Errorf("it has said %s for %d s, and %d are waited for", p.Address, int(stood/time.Second),
			int(standTime/time.Second))
	case !known[family].Address.IsValid():
		return fmt.Errorf("this machine has no public %s address", family)
	case known[family].Address == p.Address:
		return fmt.Errorf("%s is this machine's public address too", p.Address)
	case slices.ContainsFunc(s.networks(), own):
		return fmt.Errorf("%s is in a network that this machine is in itself", p.Address)
	}
	if slices.ContainsFunc(p.Ways, func(w netwatch.Way) bool { return w.Port < leastPort }) {
		return fmt.Errorf("it asks about a port below %d", leastPort)
	}
	return nil
}

// answer answers an ask. One that the broker does not take is asked again.
func (s *serving) answer(ctx context.Context, to string, a reply) {
	if err := s.pass(ctx, answers, to, a); err != nil && ctx.Err() == nil {
		s.refuse(to, fmt.Errorf("the answer is not taken: %w", err))
	}
}

// refuse says in the log that a machine is not served, and why, if that is news.
func (s *serving) refuse(from string, why error) {
	s.mu.Lock()
	news := s.refused[from] != why.Error() && (len(s.refused) < maxPeers || s.refused[from] != "")
	if news {
		s.refused[from] = why.Error()
		s.note = fmt.Sprintf("%s was not served at %s: %s", from, time.Now().Format(time.TimeOnly), why)
	}
	s.mu.Unlock()
	if news {
		s.env.Log.Warn().Str("source", s.name).Str("peer", from).Err(why).Msg("another machine asked to be looked at from " +
			"outside, and is not")
	}
}

// did notes that a machine was served, and how.
func (s *serving) did(from string, seen netwatch.Seen) {
	how := "not all of it is right"
	if isOK(seen) {
		how = "all of it is right"
	}
	s.mu.Lock()
	delete(s.refused, from)
	s.note = fmt.Sprintf("%s was looked at at %s, %s", from, time.Now().Format(time.TimeOnly), how)
	s.mu.Unlock()
	s.env.Log.Info().Str("source", s.name).Str("peer", from).Msg("looked at it from outside: " + how)
}

// Serves is whom it looks at from outside, and what came of that last.
func (s *mqtt) Serves() string {
	var all []string
	for _, name := range s.settings.Serve {
		all = append(all, string(name))
	}
	s.serving.mu.Lock()
	defer s.serving.mu.Unlock()
	text := s.serving.note
	if len(all) > 0 {
		text = strings.TrimSuffix("serves "+strings.Join(all, ", ")+"; "+text, "; ")
	}
	return text
}
