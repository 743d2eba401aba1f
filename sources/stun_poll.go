package sources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
)

// stagger is how long a poll waits for the server whose turn it is before it asks the
// next one as well. It is also how long, after enough servers have agreed, it waits
// for others who could contradict them.
const stagger = 100 * time.Millisecond

// A view asks the servers how they see us in one family. Between polls it remembers
// whom to ask first and what was wrong, but not the address: the state has that.
type view struct {
	family  netwatch.Family
	servers []Server
	agree   int
	damp    bool
	// every is the time from one poll to the next.
	every time.Duration
	ask   question
	// from is the address of this machine to ask from, given the one so far; nil, or an
	// invalid one, is any.
	from func(before netip.Addr) netip.Addr
	log  zerolog.Logger
	// turn is the index of the server that is asked first.
	turn int
	// failing are the servers that did not answer in time when last asked.
	failing map[Server]bool

	mu sync.Mutex // guards what follows
	// trouble is why too few servers could tell, or nil; silent says that none answered,
	// absent that no address of the family was known either.
	trouble error
	silent  bool
	absent  bool
	// claims are addresses that single servers say and the others do not.
	claims map[Server]netip.Addr
	// asking is the address that was asked from last, if not any.
	asking netip.Addr
	// asked are the last answers of the servers. They show which servers are one host.
	asked map[Server]Answer
	// damping is of the addresses that were agreed on, and holding whether one of
	// them was not believed.
	damping damping
	holding bool
}

// see notes what was agreed on, and says whether that is not to be believed because
// it comes and goes.
func (v *view) see(address, known netip.Addr) (held bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.damp {
		return false
	}
	v.damping = v.damping.see(address, time.Now())
	report, holding := v.damping.report(known, time.Now())
	switch {
	case holding && !v.holding:
		v.log.Warn().Stringer("held", known).Stringer("seen", report.Seen).
			Msg("the public address comes and goes, as with load balancing over two lines; the one that stands is held")
	case v.holding && !holding:
		v.log.Info().Stringer("seen", address).Msg("the public address is no longer held")
	}
	v.holding = holding
	return known.IsValid() && v.damping.holds(address)
}

// damped is what is held now.
func (v *view) damped(known netip.Addr) (netwatch.Damped, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.damping.report(known, time.Now())
}

// gather asks the server whose turn it is, or everyone. It returns the answers in the
// order of the settings, as soon as waiting longer would change nothing.
func (v *view) gather(ctx context.Context, known netip.Addr, everyone bool) []Answer {
	order := slices.Concat(v.servers[v.turn:], v.servers[:v.turn])
	r := &round{view: v, servers: order, known: known}
	if r.want(1); everyone || !known.IsValid() {
		r.all()
	}
	if r.run(ctx); ctx.Err() == nil {
		v.turn = (v.turn + 1) % len(v.servers) // A poll that was broken off was none
	}
	for _, late := range r.late {
		v.failing[late] = true
	}
	for _, a := range r.answers {
		v.failing[a.Server] = a.Err != nil
	}
	slices.SortStableFunc(r.answers, func(a, b Answer) int {
		return slices.Index(v.servers, a.Server) - slices.Index(v.servers, b.Server)
	})
	return r.answers
}

// note keeps what is not as it should be. It logs that when it begins and when it is
// over, not at each poll.
func (v *view) note(answers []Answer, known, believed netip.Addr, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		believed = known
	}
	for _, a := range answers {
		if a.Err == nil {
			v.asked[a.Server] = a
		}
		if a.Err == nil && believed.IsValid() {
			v.claim(a, believed)
		}
	}
	silent := !slices.ContainsFunc(answers, func(a Answer) bool { return a.Err == nil })
	if err != nil && known.IsValid() && !silent {
		err = nil // The claims say it
	}
	was := v.trouble
	v.trouble, v.silent, v.absent = err, silent, silent && !known.IsValid()
	switch {
	case err == nil && was != nil:
		v.log.Info().Msg("the public address can be found out again")
	case err != nil && was == nil:
		v.log.Warn().Err(err).Str("hint", netwatch.Hint(err)).
			Msg("the public address cannot be found out; the last good one stays")
	}
}

// claim keeps and logs what one server says against the others.
func (v *view) claim(a Answer, believed netip.Addr) {
	was, disputed := v.claims[a.Server]
	log := func(e *zerolog.Event, text string) {
		e.Str("server", string(a.Server)).Stringer("says", a.Address).Stringer("believed", believed).Msg(text)
	}
	switch {
	case a.Address == believed && disputed:
		delete(v.claims, a.Server)
		log(v.log.Info(), "the server agrees again")
	case a.Address != believed && was != a.Address:
		v.claims[a.Server] = a.Address
		log(v.log.Warn(), "a server says what too few others say; it is not believed")
	}
}

// well says whether the address of the family can be found out.
func (v *view) well() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.trouble == nil
}

// hears says whether the last poll heard anybody, and whether somebody is missed.
func (v *view) hears() (anybody, missed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.silent, v.silent && !v.absent
}

// complaints are the trouble and the claims as they are now. spare says that the family
// need not be there: then it is no trouble if it is absent.
func (v *view) complaints(spare bool) (all []error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.trouble != nil && !(spare && v.absent) {
		all = append(all, fmt.Errorf("finding out the %s address: %w", v.family, v.trouble))
	}
	for _, server := range slices.Sorted(maps.Keys(v.claims)) {
		all = append(all, fmt.Errorf("%s says %s, which too few others say", server, v.claims[server]))
	}
	for _, group := range OneHost(slices.Collect(maps.Values(v.asked))) {
		all = append(all, errors.New(OneVoice(group)))
	}
	return all
}

// whereabouts are the servers' addresses, given or looked up; one without an address
// while none is known.
func (v *view) whereabouts(over string) (all []Asked) {
	own := v.asksFrom()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, server := range v.servers {
		at := v.asked[server].Asked
		if literal, err := netip.ParseAddrPort(string(server)); err == nil {
			at = literal
		}
		if at.IsValid() {
			all = append(all, Asked{v.family, over, at.Addr(), own})
		}
	}
	if all == nil {
		all = []Asked{{Family: v.family, Interface: over, Own: own}}
	}
	return all
}

// OneVoice says that several servers are one host.
func OneVoice(group []Server) string {
	names := make([]string, len(group))
	for i, server := range group {
		names[i] = string(server)
	}
	return strings.Join(names, " and ") + " are one host, and have one voice"
}

// A round is one poll for one family.
type round struct {
	*view
	known   netip.Addr
	servers []Server // in the order in which they are asked
	wanted  int      // how many of them are to be asked by now
	asked   int      // how many of them have been
	// whole says that the answers of all servers are wanted: one that confirms the
	// known address no longer suffices.
	whole   bool
	answers []Answer
	late    []Server
	// waited says that those who could contradict the others have had time to.
	waited bool
	// due says that it is time for the next poll.
	due bool
}

// run asks, and waits until the round is over or ctx is done. It then ends the
// questions that are still open; none outlives it.
func (r *round) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	arrived := make(chan Answer, len(r.servers))
	pace, next := time.NewTimer(stagger), time.NewTimer(r.every)
	defer pace.Stop()
	defer next.Stop()
	for !r.over() {
		for ; r.asked < r.wanted; r.asked++ {
			server := r.servers[r.asked]
			open.Go(func() { arrived <- r.ask(ctx, server, r.family) })
			pace.Reset(stagger)
		}
		select {
		case a := <-arrived:
			if r.take(a) {
				pace.Reset(stagger)
			}
		case <-pace.C:
			r.late = append(r.late, r.servers[:r.asked]...)
			r.waited = r.agreed()
			r.want(r.asked + 1)
		case <-next.C:
			r.due = true
		case <-ctx.Done():
			return
		}
	}
}

// want has n servers asked, and more while the last of them is one that failed last
// time: a server that is down must not delay the others. Once one has confirmed what
// is known, no more are asked.
func (r *round) want(n int) {
	if r.confirmed() {
		return
	}
	for n = min(n, len(r.servers)); n < len(r.servers) && r.failing[r.servers[n-1]]; {
		n++
	}
	r.wanted = max(r.wanted, n)
}

func (r *round) all() {
	r.wanted, r.whole = len(r.servers), true
}

// take notes an answer. If it differs from what is known, all servers are asked; if
// it is an error, the next one is. It says whether enough servers agree now and did
// not before.
func (r *round) take(a Answer) (agreed bool) {
	before := r.agreed()
	r.answers = append(r.answers, a)
	switch {
	case a.Err != nil:
		r.want(r.asked + 1)
	case a.Address != r.known:
		r.all()
	}
	return !before && r.agreed()
}

// agreed says whether enough servers say the same.
func (r *round) agreed() bool {
	votes := tally(r.answers)
	return len(votes) > 0 && len(votes[0].by) >= r.agree
}

// confirmed says whether a server said what is known, and no other said anything
// else.
func (r *round) confirmed() bool {
	return !r.whole && len(unopposed(r.answers, r.known)) > 0
}

// over says whether no further answer can change the outcome, or those who could
// contradict have had their time.
func (r *round) over() bool {
	left := len(r.servers) - len(r.answers)
	switch {
	case left == 0:
		return true
	case r.confirmed(): // Who was asked before and is slow may yet differ, and nothing waits for us
		return r.due || r.asked == len(r.answers)
	}
	votes := tally(r.answers)
	counts := [2]int{} // Of the first and the second
	for i := range min(len(votes), len(counts)) {
		counts[i] = len(votes[i].by)
	}
	switch {
	case counts[1] >= r.agree: // Disputed for good
		return true
	case counts[0] >= r.agree:
		return r.waited || counts[1]+left < r.agree
	}
	opposed := len(votes) > 0 && len(unopposed(r.answers, r.known)) == 0
	return opposed && counts[0]+left < r.agree
}

// A vote is an address and the servers that said it.
type vote struct {
	address netip.Addr
	by      []string
}

// host is the host whose voice an answer is, by the address that was asked. Who has
// one IPv6 address has all of its /64. It is invalid if no address was found.
func (a Answer) host() netip.Prefix { return hostOf(a.Asked.Addr()) }

func hostOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	host, _ := a.Prefix(bits) // Of no address there is none
	return host
}

// OneHost groups the servers for which one host answered, whatever their names and
// ports: they have one voice.
func OneHost(answers []Answer) (groups [][]Server) {
	by := map[netip.Prefix][]Server{}
	for _, a := range answers {
		if a.Err == nil && a.host().IsValid() && !slices.Contains(by[a.host()], a.Server) {
			by[a.host()] = append(by[a.host()], a.Server)
		}
	}
	for _, host := range slices.SortedFunc(maps.Keys(by), netip.Prefix.Compare) {
		if len(by[host]) > 1 {
			groups = append(groups, slices.Sorted(slices.Values(by[host])))
		}
	}
	return groups
}

// tally counts the answers, the address that most servers said first. Of the answers
// of one host only the first counts.
func tally(answers []Answer) (votes []vote) {
	for i, a := range answers {
		twin := func(b Answer) bool { return b.Err == nil && b.host().IsValid() && b.host() == a.host() }
		if a.Err != nil || slices.ContainsFunc(answers[:i], twin) {
			continue
		}
		at := slices.IndexFunc(votes, func(v vote) bool { return v.address == a.Address })
		if at < 0 {
			at, votes = len(votes), append(votes, vote{address: a.Address})
		}
		votes[at].by = append(votes[at].by, string(a.Server))
	}
	slices.SortStableFunc(votes, func(a, b vote) int { return len(b.by) - len(a.by) })
	return votes
}

// unopposed are the servers that said the known address, if none said another.
func unopposed(answers []Answer, known netip.Addr) []string {
	if votes := tally(answers); len(votes) == 1 && votes[0].address == known {
		return votes[0].by
	}
	return nil
}

// Verdict returns the address that most servers say, and those servers, if they are
// at least agree and no other address has as many. Otherwise the error says why there
// is none. The answers must be of different servers and of one family.
func Verdict(answers []Answer, agree int) (netip.Addr, []string, error) {
	votes := tally(answers)
	enough := slices.DeleteFunc(slices.Clone(votes), func(v vote) bool { return len(v.by) < agree })
	if len(enough) == 1 {
		return enough[0].address, enough[0].by, nil
	}
	return netip.Addr{}, nil, undecided(answers, votes, agree)
}

// undecided says why there is no verdict.
func undecided(answers []Answer, votes []vote, agree int) error {
	var said []string
	for _, a := range answers {
		if a.Err != nil {
			said = append(said, fmt.Sprintf("%s: %v", a.Server, a.Err))
		} else {
			said = append(said, fmt.Sprintf("%s: %s", a.Server, a.Address))
		}
	}
	err := Undecided{Reason: "the servers do not agree", said: strings.Join(said, "; ")}
	switch len(votes) {
	case 0:
		err.Reason = "no server could tell"
		return netwatch.WithHint(err, "see whether UDP to port 3478 and name resolution work from here")
	case 1:
		err.Reason = fmt.Sprintf("%d of the %d servers that must agree could tell", len(votes[0].by), agree)
	}
	for _, group := range OneHost(answers) {
		err.Reason += "; " + OneVoice(group)
	}
	return err
}

// Undecided says that the answers of the servers do not make out an address.
type Undecided struct {
	// Reason says why, in a few words.
	Reason string
	said   string
}

// Error is the reason and what each server said, if any was asked.
func (u Undecided) Error() string {
	if u.said == "" {
		return u.Reason
	}
	return u.Reason + " (" + u.said + ")"
}
