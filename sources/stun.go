package sources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"netwatch"
)

// A STUN is the settings of a source that asks STUN servers (RFC 8489) for the
// public address of this machine and emits ip-changed.
type STUN struct {
	// Servers are asked in turn, one a poll; all of them as soon as one says
	// something new.
	Servers []Server `toml:"servers"`
	// Every is the time from one poll to the next, at least 100ms.
	Every netwatch.Duration `toml:"every"`
	// Agree is how many servers must say the same address before it is believed.
	Agree int `toml:"agree"`
	// Families are those whose address is asked for.
	Families []netwatch.Family `toml:"families"`
	// Timeout is how long one server may take to answer, looking up its name
	// included.
	Timeout netwatch.Duration `toml:"timeout"`
	// Interface is the network interface over which to ask; empty is any. Names
	// are looked up over any.
	Interface string `toml:"interface"`
	// Damp has the address that stands be kept while another one comes and goes.
	Damp bool `toml:"damp"`
	// Accept are prefixes that count as public although they are not.
	Accept []netip.Prefix `toml:"accept"`
	// Kept says that Every was written: then no poll is left out because a router
	// vouches for our address.
	Kept bool
}

// The bounds of the settings' durations. A timeout longer than every does no
// harm: polls never overlap.
const (
	leastEvery   = 100 * time.Millisecond
	leastTimeout = 10 * time.Millisecond
	mostTimeout  = 30 * time.Second
)

// maxInterface is the longest name of an interface (IFNAMSIZ without the final
// zero byte, netdevice(7)).
const maxInterface = 15

func newSTUN() Settings {
	return &STUN{
		Servers: []Server{"stun.cloudflare.com:3478", "stun.nextcloud.com:3478", "stun.sipgate.net:3478"},
		Every:   netwatch.Duration(15 * time.Second),
		Agree:   2, Families: slices.Clone(netwatch.Families), Timeout: netwatch.Duration(time.Second), Damp: true,
	}
}

// Check lists what is wrong beyond the types of single values.
func (s *STUN) Check() []Mistake {
	var all []Mistake
	wrong := func(is bool, key string, index int, format string, args ...any) {
		if is {
			all = append(all, Mistake{key, index, fmt.Sprintf(format, args...)})
		}
	}
	for i, server := range s.Servers {
		wrong(slices.Contains(s.Servers[:i], server), "servers", i, "%s is there twice, and would agree with itself", server)
	}
	for i, f := range s.Families {
		wrong(slices.Contains(s.Families[:i], f), "families", i, "%s is there twice", f)
	}
	wrong(len(s.Servers) == 0, "servers", -1, "there is no server to ask")
	wrong(len(s.Families) == 0, "families", -1, "there is no family to ask for")
	wrong(s.Agree < 1, "agree", -1, "at least 1 server must say an address")
	wrong(len(s.Servers) > 0 && s.Agree > voices(s.Servers), "agree", -1,
		"%d servers must agree, but there are only %s", s.Agree, s.tooFew(s.Servers))
	wrong(time.Duration(s.Every) < leastEvery, "every", -1, "%s is too often: at least %s", s.Every, leastEvery)
	wrong(time.Duration(s.Timeout) < leastTimeout || time.Duration(s.Timeout) > mostTimeout, "timeout", -1,
		"%s is not between %s and %s", s.Timeout, leastTimeout, mostTimeout)
	wrong(len(s.Interface) > maxInterface || strings.ContainsAny(s.Interface, "/ \t\n"), "interface", -1,
		"%q cannot be the name of an interface", s.Interface)
	if len(all) == 0 {
		all = s.checkFamilies()
	}
	return all
}

// Written is told which keys are written.
func (s *STUN) Written(keys []string) { s.Kept = slices.Contains(keys, "every") }

// Claims are the families: each has one public address, and two sources that see
// different ones would contradict each other.
func (s *STUN) Claims() (key string, values []string) {
	for _, f := range s.Families {
		values = append(values, string(f))
	}
	return "families", values
}

// checkFamilies finds families for which too few servers can be asked: a server that
// is given by its address can be asked for that family only.
func (s *STUN) checkFamilies() (all []Mistake) {
	some := false
	for i, f := range s.Families {
		servers := s.serversOf(f)
		some = some || len(servers) > 0
		if len(servers) > 0 && voices(servers) < s.Agree {
			text := fmt.Sprintf("%d servers must agree, but only %s can be asked for %s", s.Agree, s.tooFew(servers), f)
			all = append(all, Mistake{"families", i, text})
		}
	}
	if !some {
		all = append(all, Mistake{"families", -1, fmt.Sprintf("no server can be asked for %s", s.Families[0])})
	}
	return all
}

// serversOf are the servers that can be asked for a family.
func (s *STUN) serversOf(f netwatch.Family) (servers []Server) {
	for _, server := range s.Servers {
		if server.speaks(f) {
			servers = append(servers, server)
		}
	}
	return servers
}

// voices is how many hosts the servers are, as far as their texts tell: one host has
// one voice, whatever its ports.
func voices(servers []Server) int {
	hosts := map[string]bool{}
	for _, server := range servers {
		hosts[server.host()] = true
	}
	return len(hosts)
}

// tooFew says how many voices there are where more must agree.
func (s *STUN) tooFew(servers []Server) string {
	if len(servers) < s.Agree {
		return strconv.Itoa(len(servers))
	}
	return fmt.Sprintf("%d of the %d, for one host has one voice", voices(servers), len(servers))
}

// Needs are the prefixes that count as public here.
func (s *STUN) Needs() Needs { return Needs{Accepts: s.Accept} }

// Ask asks all servers and says for each family what follows.
func (s *STUN) Ask(ctx context.Context, relays func() ([]netip.Addr, error)) []Told {
	answers := s.all(ctx, relays)
	told := make([]Told, len(s.Families))
	for i, family := range s.Families {
		t := Told{Family: family, Agree: s.Agree, Interface: s.Interface}
		for _, a := range answers {
			if a.Family == family {
				t.Answers = append(t.Answers, a)
			}
		}
		t.Address, _, t.Err = Verdict(t.Answers, s.Agree)
		told[i] = t
	}
	return told
}

// all asks every server for every family at once, and returns the answers in the
// order of the settings, family by family.
func (s *STUN) all(ctx context.Context, relays func() ([]netip.Addr, error)) []Answer {
	var all []Answer
	for _, family := range s.Families {
		for _, server := range s.serversOf(family) {
			all = append(all, Answer{Server: server, Family: family})
		}
	}
	var wg sync.WaitGroup
	for i, a := range all {
		wg.Go(func() {
			all[i] = s.query(ctx, internet{}, a.Server, a.Family, s.from(a.Family, netip.Addr{}, relays, netwatch.OwnAddresses))
		})
	}
	wg.Wait()
	return all
}

// Source makes the source.
func (s *STUN) Source(name string, env Env) netwatch.Source { return s.Prober(name, env) }

// Prober makes the source, which can be asked to look at once.
func (s *STUN) Prober(name string, env Env) netwatch.Prober {
	source := s.source(name, env, nil, env.jumps())
	for _, v := range source.views {
		v.from = func(before netip.Addr) netip.Addr { return s.from(v.family, before, env.Relays, env.network().Here) }
		v.ask = func(ctx context.Context, server Server, family netwatch.Family) Answer {
			return s.query(ctx, env.network(), server, family, v.asksFrom())
		}
	}
	return source
}

// source makes the source with other ways to ask a server and to notice that the
// clock was set.
func (s *STUN) source(name string, env Env, ask question,
	jumps func(context.Context) (<-chan struct{}, error),
) *stunSource {
	source := &stunSource{
		name: name, pace: pace{every: time.Duration(s.Every), rare: !s.Kept}, over: s.Interface, own6: s.own6(env.network()),
		env: env, jumps: jumps, asked: make(chan struct{}, 1),
	}
	log := env.Log.With().Str("source", name).Logger()
	for _, f := range s.Families {
		if servers := s.serversOf(f); len(servers) > 0 {
			v := &view{
				family: f, servers: servers, agree: s.Agree, damp: s.Damp, every: time.Duration(s.Every), ask: ask,
				log: log.With().Str("family", string(f)).Logger(),
			}
			v.failing, v.claims, v.asked = map[Server]bool{}, map[Server]netip.Addr{}, map[Server]Answer{}
			source.views = append(source.views, v)
		}
	}
	return source
}

// A question asks one server for our address of a family.
type question func(ctx context.Context, server Server, family netwatch.Family) Answer

// A stunSource polls. It holds no address itself: each time it compares what servers
// say with what was accepted.
type stunSource struct {
	name  string
	pace  pace
	over  string // the interface that it keeps to
	own6  func([]Asked) netip.Addr
	env   Env
	jumps func(context.Context) (<-chan struct{}, error)
	views []*view
	// asked wakes Run when probes are waiting.
	asked chan struct{}

	mu      sync.Mutex // guards what follows
	ended   bool
	waiting []probe
	// interrupt ends the poll that is going on, and serving says that probes wait for it.
	interrupt context.CancelFunc
	serving   bool
	// looking is when the poll that is going on began, or zero.
	looking time.Time
}

// A probe is somebody who waits for a poll.
type probe struct {
	reply chan<- netwatch.Result
	// insists says that what the poll finds is to be believed although it is damped.
	insists bool
	// hurries says that no other poll is waited for, not even one that serves a probe.
	hurries bool
	// alone says that who waits does nothing about what is found.
	alone bool
}

// String is the name in the configuration.
func (s *stunSource) String() string { return s.name }

// Run polls at once, after each period, when the wall clock is set, and for each
// probe; rarer while a router vouches for our address, and often for a while after a
// poll that heard nobody. It returns nil when ctx is done. It has no errors: if a server cannot be
// asked, the next may.
func (s *stunSource) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jumps, err := s.jumps(ctx)
	if err != nil {
		s.env.Log.Warn().Str("source", s.name).Err(err).Msg("a resume from suspend will be noticed late")
	}
	s.open()
	defer s.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for lost := (<-chan struct{})(nil); ; {
		select {
		case <-timer.C:
			var spare time.Duration
			if spare, lost = s.rest(); spare > 0 {
				timer.Reset(spare)
				continue
			}
		case <-lost:
			lost = nil
			timer.Reset(time.Until(s.pace.polled.Add(s.pace.every)))
			continue
		case <-jumps:
		case <-s.asked:
		case <-ctx.Done():
			return nil
		}
		s.pace.polled = time.Now()
		s.look(ctx, emit)
		timer.Reset(s.pace.after(s.heardAny()))
	}
}

// Probe has all servers asked now, and returns once what they said is emitted.
// Waiting probes share a poll that began after all of them, and are served as
// well by a Run that begins later. It fails when ctx ends or Run has ended.
func (s *stunSource) Probe(ctx context.Context) netwatch.Result {
	return s.await(ctx, probe{})
}

// Alone is Probe for who does nothing about what is found: then nobody need wait for him
// who does.
func (s *stunSource) Alone(ctx context.Context) netwatch.Result {
	return s.await(ctx, probe{alone: true})
}

// Insist is Probe, and what is found is believed also where it would be damped.
func (s *stunSource) Insist(ctx context.Context) netwatch.Result {
	return s.await(ctx, probe{insists: true})
}

// Hurry is Probe, and breaks off a poll that is going on: it began before there was
// reason to look, and may wait for answers that went astray. Whom that served, the
// next one serves.
func (s *stunSource) Hurry(ctx context.Context) netwatch.Result {
	return s.await(ctx, probe{hurries: true, alone: true})
}

func (s *stunSource) await(ctx context.Context, p probe) netwatch.Result {
	reply := make(chan netwatch.Result, 1)
	if p.reply = reply; !s.enqueue(p) {
		return netwatch.Failure(fmt.Errorf("asking %s: it is not running", s.name))
	}
	select {
	case result := <-reply:
		return result
	case <-ctx.Done():
		return netwatch.Failure(fmt.Errorf("waiting for %s: %w", s.name, context.Cause(ctx)))
	}
}

// Asked are the servers at the addresses that they answered from last, family by
// family.
func (s *stunSource) Asked() (all []Asked) {
	for _, v := range s.views {
		all = append(all, v.whereabouts(s.over)...)
	}
	return all
}

// Damped are the addresses that are held.
func (s *stunSource) Damped() (all []netwatch.Damped) {
	known := s.env.Known()
	for _, v := range s.views {
		if d, is := v.damped(known[v.family].Address); is {
			all = append(all, d)
		}
	}
	return all
}

// Trouble is what keeps the source from finding out an address or from trusting
// a server, or nil. That nobody answers for a family is none while another is well and
// this one was never known: it is not to be had here.
func (s *stunSource) Trouble() error {
	var all []error
	some := slices.ContainsFunc(s.views, (*view).well)
	for _, v := range s.views {
		all = append(all, v.complaints(some)...)
	}
	return errors.Join(all...)
}

func (s *stunSource) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = false
}

// close answers the probes that no poll will serve any more.
func (s *stunSource) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, p := range s.waiting {
		p.reply <- netwatch.Failure(fmt.Errorf("asking %s: it was stopped", s.name))
	}
	s.waiting = nil
}

// enqueue puts a probe in line. A poll that serves no probe makes way for it, and any
// poll for one that hurries.
func (s *stunSource) enqueue(p probe) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.waiting = append(s.waiting, p)
	select {
	case s.asked <- struct{}{}:
	default: // Run will wake already
	}
	if s.interrupt != nil && (p.hurries || !s.serving) {
		s.interrupt()
	}
	return true
}

// begin takes the probes that the poll about to begin will serve. The context returned
// is the one that another probe can end.
func (s *stunSource) begin(ctx context.Context) (context.Context, context.CancelFunc, []probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.asked: // This poll serves whoever has woken Run
	default:
	}
	probes := s.waiting
	ctx, cancel := context.WithCancel(ctx)
	s.waiting, s.interrupt, s.serving, s.looking = nil, cancel, len(probes) > 0, time.Now()
	return ctx, cancel, probes
}

// inTime emits events whose windows do not end sooner: who waits for the poll acts on
// it too, and is to be part of the run.
func inTime(emit func(netwatch.Event) error) func(netwatch.Event) error {
	return func(ev netwatch.Event) error {
		ev.Heard = nil
		return emit(ev)
	}
}

// again puts probes back in line whose poll was broken off.
func (s *stunSource) again(probes []probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(probes, s.waiting...)
}

// pollEnded notes that no poll is going on.
func (s *stunSource) pollEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking = time.Time{}
}

// Looking is when the poll that is going on began, or zero.
func (s *stunSource) Looking() (since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looking
}

// look polls once and answers the probes that waited for it.
func (s *stunSource) look(ctx context.Context, emit func(netwatch.Event) error) {
	polling, cancel, probes := s.begin(ctx)
	defer s.pollEnded()
	defer cancel()
	insists := slices.ContainsFunc(probes, func(p probe) bool { return p.insists })
	if slices.ContainsFunc(probes, func(p probe) bool { return !p.alone }) {
		emit = inTime(emit)
	}
	result := s.poll(polling, emit, len(probes) > 0, insists)
	if polling.Err() != nil && ctx.Err() == nil {
		s.again(probes)
		return
	}
	for _, p := range probes {
		p.reply <- result
	}
}

// poll asks for all families at the same time, and acts on each as soon as it is
// found out.
func (s *stunSource) poll(
	ctx context.Context, emit func(netwatch.Event) error, everyone, insists bool,
) netwatch.Result {
	type heard struct {
		view    int
		answers []Answer
	}
	ends := make(chan heard, len(s.views))
	all, over := context.WithCancel(context.Background())
	defer over()
	heardBy := func(ev netwatch.Event) error {
		ev.Heard = all
		return emit(ev)
	}
	known := s.env.Known()
	for i, v := range s.views {
		go func() { ends <- heard{i, v.gather(ctx, known[v.family].Address, everyone)} }()
	}
	results := make([]netwatch.Result, len(s.views))
	for range s.views {
		h := <-ends
		if ctx.Err() != nil { // Cut short: silence means nothing
			results[h.view] = netwatch.Failure(fmt.Errorf("asking %s: %w", s.name, context.Cause(ctx)))
			continue
		}
		v := s.views[h.view]
		results[h.view] = s.conclude(v, known[v.family].Address, h.answers, insists, heardBy)
	}
	return oneOf(results)
}

// conclude acts on what the servers said about a family: it confirms the known
// address, or emits a new one.
func (s *stunSource) conclude(
	v *view, known netip.Addr, answers []Answer, insists bool, emit func(netwatch.Event) error,
) netwatch.Result {
	address, by, err := Verdict(answers, v.agree)
	if same := unopposed(answers, known); err != nil && len(same) > 0 {
		address, by, err = known, same, nil
	}
	v.note(answers, known, address, err)
	if err != nil {
		s.env.Doubt(v.family, slices.ContainsFunc(answers, func(a Answer) bool { return a.Err == nil }))
		result := netwatch.Failure(fmt.Errorf("finding out the %s address: %w", v.family, err))
		if known.IsValid() {
			result.Detail = fmt.Sprintf("%s %s not confirmed", v.family, known)
		}
		return result
	}
	held := v.see(address, known)
	detail := fmt.Sprintf("%s %s (%s)", v.family, address, strings.Join(by, ", "))
	switch {
	case address == known:
		s.env.Confirm(v.family, s.Looking(), by, OwnBy(answers, address))
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: detail}
	case held && !insists:
		detail = fmt.Sprintf("%s %s held while %s comes and goes", v.family, known, address)
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: detail}
	}
	ev := netwatch.NewEvent(netwatch.IPChanged, s.name, map[string]string{
		"family": string(v.family), "old": text(known), "new": text(address), "by": strings.Join(by, ", "),
	})
	ev.By, ev.Own = by, OwnBy(answers, address)
	if err := emit(ev); err != nil {
		return netwatch.Failure(fmt.Errorf("telling of the new %s address %s: %w", v.family, address, err))
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: detail}
}

// OwnBy is this machine's address by which servers were asked that say an address.
func OwnBy(answers []Answer, address netip.Addr) netip.Addr {
	i := slices.IndexFunc(answers, func(a Answer) bool { return a.Err == nil && a.Address == address })
	if i < 0 {
		return netip.Addr{}
	}
	return answers[i].Own
}

// text is an address as text, empty if it is invalid.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// oneOf is the result for all families. A family whose address cannot be found out,
// as IPv6 where there is none, does not matter if another can.
func oneOf(results []netwatch.Result) netwatch.Result {
	var details []string
	var errs []error
	all := netwatch.Result{Outcome: netwatch.Failed}
	for _, r := range results {
		if r.Detail != "" {
			details = append(details, r.Detail)
		}
		if r.Outcome == netwatch.Failed {
			errs = append(errs, r.Err)
		} else if all.Outcome != netwatch.Changed {
			all.Outcome = r.Outcome
		}
	}
	if all.Outcome == netwatch.Failed {
		all.Err = errors.Join(errs...)
	}
	all.Detail = strings.Join(details, ", ")
	return all
}
