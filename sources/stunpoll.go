package sources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"netwatch"
)

// stagger is how long a poll waits for the server whose turn it is before it
// asks the next one as well.
const stagger = 100 * time.Millisecond

// A familyPoll is what is remembered of a family from one poll to the next.
type familyPoll struct {
	*stunSource
	family netwatch.Family
	// turn is the server that is asked first.
	turn int
	// failing are the servers that did not answer last time.
	failing map[Server]bool
	// trouble is why the last poll found nothing out.
	trouble error
}

// A round is one poll of one family in progress.
type round struct {
	*familyPoll
	ctx     context.Context
	known   netip.Addr
	order   []Server // from the one whose turn it is
	asked   int      // how many of order
	answers []Answer
	got     chan Answer
}

// poll asks one server or all, and acts on what they say.
func (p *familyPoll) poll(ctx context.Context, emit func(netwatch.Event), all bool) netwatch.Result {
	known := p.env.Known()[p.family].Address
	answers := p.gather(ctx, known, all)
	addr, by, err := Verdict(answers, p.Agree)
	if confirming := says(answers, known); err != nil && len(confirming) == answered(answers) && len(confirming) > 0 {
		addr, by, err = known, confirming, nil // nobody says anything else
	}
	if ctx.Err() != nil {
		return netwatch.Failure(context.Cause(ctx))
	}
	p.tell(err)
	if err != nil {
		return netwatch.Failure(fmt.Errorf("finding out the %s address: %w", p.family, err))
	}
	detail := fmt.Sprintf("%s %s (%s)", p.family, addr, strings.Join(by, ", "))
	if addr == known {
		p.env.Confirm(p.family, by)
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: detail}
	}
	emit(netwatch.NewEvent(netwatch.IPChanged, p.name, map[string]string{
		"family": string(p.family), "old": text(known), "new": addr.String(), "by": strings.Join(by, ", "),
	}))
	if p.env.Known()[p.family].Address != addr {
		return netwatch.Failure(fmt.Errorf("the new %s address %s was not accepted", p.family, addr))
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: detail}
}

// text is an address, or nothing for none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// gather returns the answers once nothing more can come of waiting.
func (p *familyPoll) gather(ctx context.Context, known netip.Addr, all bool) []Answer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // whom we asked and need not hear
	n := len(p.Servers)
	r := &round{familyPoll: p, ctx: ctx, known: known, got: make(chan Answer, n)}
	for i := range n {
		r.order = append(r.order, p.Servers[(p.turn+i)%n])
	}
	p.turn = (p.turn + 1) % n
	if all || !known.IsValid() {
		r.askAll()
	} else {
		r.askNext()
	}
	r.wait()
	return r.answers
}

// wait takes answers until they suffice.
func (r *round) wait() {
	next := time.NewTimer(stagger)
	defer next.Stop()
	for !r.enough() {
		select {
		case a := <-r.got:
			r.take(a)
		case <-next.C:
			r.askNext()
			next.Reset(stagger)
		case <-r.ctx.Done():
			return
		}
	}
}

// take notes an answer. One that differs is a reason to ask all, and one that
// failed to ask the next.
func (r *round) take(a Answer) {
	r.answers = append(r.answers, a)
	r.failing[a.Server] = a.Err != nil
	switch {
	case a.Err != nil:
		r.askNext()
	case a.Address != r.known:
		r.askAll()
	}
}

// enough says that no further answer would change what follows: one server of
// those asked in turn confirmed what is known, a verdict is there, or can no
// longer be reached.
func (r *round) enough() bool {
	if len(r.answers) == len(r.order) {
		return true
	}
	if r.asked < len(r.order) {
		return len(says(r.answers, r.known)) > 0
	}
	_, by, err := Verdict(r.answers, r.Agree)
	return err == nil && len(by) > 0
}

// askNext asks the next server, and the one after it too if that one failed
// last time: a server that is down must not delay the others.
func (r *round) askNext() {
	for r.asked < len(r.order) {
		server := r.order[r.asked]
		r.asked++
		go func() { r.got <- r.ask(r.ctx, server, r.family) }() // ends with the query's timeout or r.ctx
		if !r.failing[server] {
			return
		}
	}
}

func (r *round) askAll() {
	for r.asked < len(r.order) {
		r.askNext()
	}
}

// tell logs trouble when it begins and when it is over, not at each poll.
func (p *familyPoll) tell(err error) {
	was := p.trouble
	p.trouble = err
	switch log := p.env.Log.With().Str("source", p.name).Str("family", string(p.family)).Logger(); {
	case err == nil && was != nil:
		log.Info().Msg("the public address can be found out again")
	case err != nil && (was == nil || errors.Is(err, errDisputed) != errors.Is(was, errDisputed)):
		log.Warn().Err(err).Msg("the public address cannot be found out; the last good one stays")
	}
}

// says are the servers that said a.
func says(answers []Answer, a netip.Addr) (by []string) {
	for _, ans := range answers {
		if ans.Err == nil && ans.Address == a {
			by = append(by, string(ans.Server))
		}
	}
	return by
}

// answered is how many servers said an address.
func answered(answers []Answer) (n int) {
	for _, a := range answers {
		if a.Err == nil {
			n++
		}
	}
	return n
}

// errDisputed is that servers said different addresses, none of them enough.
var errDisputed = errors.New("the servers do not agree")

// Verdict is the address that at least agree servers say and more than say any
// other, and who they are; or why there is none. The answers are to be of
// different servers and of one family.
func Verdict(answers []Answer, agree int) (netip.Addr, []string, error) {
	var best netip.Addr
	var by []string
	tie := false
	for _, a := range answers {
		if a.Err != nil || a.Address == best {
			continue
		}
		switch same := says(answers, a.Address); {
		case len(same) > len(by):
			best, by, tie = a.Address, same, false
		case len(same) == len(by):
			tie = true
		}
	}
	if len(by) >= agree && !tie {
		return best, by, nil
	}
	return netip.Addr{}, nil, undecided(answers, len(by), agree)
}

// undecided says why there is no verdict.
func undecided(answers []Answer, most, agree int) error {
	var said []string
	for _, a := range answers {
		if a.Err != nil {
			said = append(said, fmt.Sprintf("%s: %v", a.Server, a.Err))
		} else {
			said = append(said, fmt.Sprintf("%s: %s", a.Server, a.Address))
		}
	}
	list := strings.Join(said, "; ")
	switch n := answered(answers); {
	case n == 0:
		return fmt.Errorf("no server could tell (%s)", list)
	case n > most:
		return fmt.Errorf("%w (%s)", errDisputed, list)
	}
	return fmt.Errorf("%d of the %d servers that must agree could tell (%s)", most, agree, list)
}
