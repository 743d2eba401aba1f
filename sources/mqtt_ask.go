package sources

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
)

const (
	// nextTime is how long one machine is waited for until another is asked beside it: who
	// gets all that he asks for answers sooner.
	nextTime = 2 * time.Second
	// maxAsked is how many machines are asked, and opinions how many of them look, before
	// what they say counts: one that does not see everything may itself be at fault.
	maxAsked = 8
	opinions = 2
	// againTime is after how long a machine is asked again: its minute begins a little later.
	againTime = askPause + time.Second
)

// asking is what one source asks other machines.
type asking struct {
	*mqtt
	// one has room for one inquiry: what it finds is the answer to the same question of
	// another.
	one chan struct{}

	mu sync.Mutex // guards what follows
	// waiting are those whose answers are waited for, by the id of the ask.
	waiting map[string]*asked
	// last is when each machine was asked, and what was seen last of some places.
	last map[string]time.Time
	seen map[string]seenAt
	// nonsense is of whom the log has an answer that is none.
	nonsense seldom
}

// An asked is one ask of one machine.
type asked struct {
	peer string
	// ways is of how many it was asked.
	ways int
	got  chan<- *asked
	// seen is what it answered.
	seen netwatch.Seen
}

// A seenAt is a sighting, and when it was had.
type seenAt struct {
	netwatch.Sighting
	at time.Time
}

func newAsking(s *mqtt) *asking {
	return &asking{
		mqtt: s, one: make(chan struct{}, 1),
		waiting: map[string]*asked{}, last: map[string]time.Time{}, seen: map[string]seenAt{}, nonsense: seldom{},
	}
}

// deliver takes an answer: once, of an ask of ours, and from the machine that was asked.
func (a *asking) deliver(from string, message []byte) {
	got, err := parseAnswer(message)
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.waiting[got.ID]
	switch {
	case err != nil && (a.last[from].IsZero() || !a.nonsense.may(from)): // Who was never asked answers nothing
	case err != nil:
		a.env.Log.Warn().Str("source", a.name).Str("peer", from).Err(err).Msg("an answer of another machine was dropped")
	case of != nil && of.peer == from && len(got.Ways) == of.ways:
		delete(a.waiting, got.ID)
		of.seen = got.Seen
		of.got <- of // There is room for each
	}
}

// Outside has other machines look at a place. One is asked after the other: each that looks
// takes what a caller takes of the server, and one that is well says so within a second.
func (s *mqtt) Outside(ctx context.Context, p netwatch.Place) netwatch.Sighting {
	select {
	case s.asking.one <- struct{}{}:
		defer func() { <-s.asking.one }()
	case <-ctx.Done():
		return netwatch.Sighting{Why: ctx.Err()}
	}
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	if err := s.young(p.Address); err != nil {
		return netwatch.Sighting{Why: err}
	}
	key := fmt.Sprint(p.Address, p.Ways)
	left, err := s.asking.candidates(p.Address)
	if err != nil {
		return s.asking.recall(key, err)
	}
	q := &inquiry{asking: s.asking, place: p, left: left, got: make(chan *asked, maxAsked)}
	q.run(ctx)
	return s.asking.remember(key, q.result())
}

// young says of an address of ours that others do not send there yet.
func (s *mqtt) young(address netip.Addr) error {
	a := s.env.Known()[netwatch.FamilyOf(address)]
	if a.Address != address {
		return fmt.Errorf("%s is not our public address any more", address)
	}
	if stood := time.Since(a.Since); stood < standTime {
		return fmt.Errorf("%s has stood for %d s, others ask after %d s",
			address, max(0, int(stood/time.Second)), int(standTime/time.Second))
	}
	return nil
}

// candidates are the machines to ask, in any order. The error says why there are none.
func (a *asking) candidates(address netip.Addr) (all []string, err error) {
	here, elsewhere, recent := 0, 0, ""
	for _, p := range a.peers.present() {
		here++
		its := p.now.Addresses[netwatch.FamilyOf(address)].Address
		if !its.IsValid() || its == address {
			continue
		}
		elsewhere++
		if !slices.Contains(p.now.Serves, string(a.settings.Host)) {
			continue
		}
		if since := a.sinceAsked(p.host); since < againTime {
			recent = fmt.Sprintf("%s was asked %d s ago, and may be once a minute", p.host, int(since/time.Second))
			continue
		}
		all = append(all, p.host)
	}
	switch {
	case len(all) > 0:
		shuffle(all)
		return all[:min(len(all), maxAsked)], nil
	case here == 0:
		return nil, cmp.Or(a.Trouble(), netwatch.WithHint(errors.New("no other machine is here"),
			"netwatch status shows the others: one that is elsewhere has to run netwatch with [source.mqtt]"))
	case elsewhere == 0:
		return nil, netwatch.WithHint(fmt.Errorf("no other machine that is here (%d) has said a public %s address that is "+
			"not ours", here, netwatch.FamilyOf(address)), "one that is elsewhere has to run netwatch with [source.stun]")
	case recent == "":
		return nil, netwatch.WithHint(fmt.Errorf("no machine elsewhere (%d) serves %s", elsewhere, a.settings.Host),
			fmt.Sprintf("write serve = [%q] into [source.mqtt] there", a.settings.Host))
	}
	return nil, errors.New(recent)
}

// shuffle has each machine be asked as often as the others.
func shuffle(all []string) {
	//nolint:gosec // Nobody gains by guessing it
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
}

// sinceAsked is how long ago a machine was asked.
func (a *asking) sinceAsked(peer string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, was := a.last[peer]; was {
		return time.Since(at)
	}
	return againTime
}

// recall is what was seen last, if that is not a minute ago: until then nobody looks again.
func (a *asking) recall(key string, why error) netwatch.Sighting {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, has := a.seen[key]
	if age := time.Since(last.at); has && age < againTime {
		last.By = fmt.Sprintf("%s, %d s ago", last.By, int(age/time.Second))
		return last.Sighting
	}
	return netwatch.Sighting{Why: why}
}

// remember keeps what was seen, for recall.
func (a *asking) remember(key string, got netwatch.Sighting) netwatch.Sighting {
	a.mu.Lock()
	defer a.mu.Unlock()
	for old, s := range a.seen {
		if time.Since(s.at) >= againTime {
			delete(a.seen, old)
		}
	}
	if got.By != "" {
		a.seen[key] = seenAt{got, time.Now()}
	}
	return got
}

// An inquiry asks machines about places until enough is known.
type inquiry struct {
	*asking
	place netwatch.Place
	left  []string
	got   chan *asked
	// waits is of how many the answer is waited for, and busy how many would not look.
	waits, busy int
	// looked are those who did, and seen is what they saw together.
	looked []string
	seen   netwatch.Seen
	// failed is why somebody could not be asked.
	failed error
}

// run asks the next whenever one was waited for in vain, would not look, or did not see all
// of it right. It ends when one did, when enough have looked, or with ctx.
func (q *inquiry) run(ctx context.Context) {
	defer q.forget()
	for pause := time.Duration(0); ; {
		var due <-chan time.Time
		if len(q.left) > 0 {
			due = time.After(pause)
		} else if q.waits == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			pause = q.next(ctx)
		case a := <-q.got:
			if q.take(a) {
				return
			}
			pause = 0
		}
	}
}

// next asks the next machine, and returns how long to wait for it alone.
func (q *inquiry) next(ctx context.Context) time.Duration {
	peer := q.left[0]
	q.left = q.left[1:]
	a := &asked{peer: peer, ways: len(q.place.Ways), got: q.got}
	id := strings.ToLower(rand.Text())
	q.mu.Lock()
	q.waiting[id], q.last[peer] = a, time.Now()
	q.mu.Unlock()
	q.waits++
	if err := q.pass(ctx, asks, peer, request{id, q.place}); err != nil {
		q.failed = err
		q.unasked(id, peer)
		return 0
	}
	return nextTime
}

// unasked waits for no answer to an ask that the broker did not take, as far as is known: if it
// is answered already, the answer counts.
func (q *inquiry) unasked(id, peer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, waits := q.waiting[id]; waits {
		delete(q.waiting, id)
		q.waits--
	}
	delete(q.last, peer)
}

// take takes an answer, and says whether enough is known.
func (q *inquiry) take(a *asked) bool {
	q.waits--
	if isBusy(a.seen) {
		q.busy++
		return false
	}
	q.looked, q.seen = append(q.looked, a.peer), better(q.seen, a.seen)
	return isOK(q.seen) || len(q.looked) == opinions
}

// forget waits for nobody any more.
func (q *inquiry) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, a := range q.waiting {
		if a.got == q.got {
			delete(q.waiting, id)
		}
	}
}

// result is what came of it.
func (q *inquiry) result() netwatch.Sighting {
	switch {
	case len(q.looked) > 0:
		return netwatch.Sighting{Seen: q.seen, By: strings.Join(q.looked, " and ")}
	case q.failed != nil:
		return netwatch.Sighting{Why: q.failed}
	case q.busy > 0 && q.waits == 0:
		return netwatch.Sighting{Why: netwatch.WithHint(errors.New("all that serve us are busy"), "why they are, their logs "+
			"say; each looks once a minute, and at an address that it has heard of for half a minute")}
	}
	return netwatch.Sighting{Why: netwatch.WithHint(fmt.Errorf("nobody answered within %s", wholeTime),
		"see there whether netwatch runs: netwatch status shows the others")}
}
