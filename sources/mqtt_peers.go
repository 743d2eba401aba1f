package sources

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"netwatch"
)

// The bounds of what is heard.
const (
	// maxPeers is of how many machines anything is kept.
	maxPeers = 4096
	// peerPause is the time between two events that tell of one machine.
	peerPause = 2 * time.Second
	// goneTime is how long a machine must be gone until that is told: who connects anew
	// is gone for a moment.
	goneTime = 5 * time.Second
	// readingPause is the time between two looks at what has come. Of each machine the
	// newest counts.
	readingPause = 10 * time.Millisecond
	// meetingPause is the time after some were seen for the first time: most often there are
	// more of them, and for each look the state is written.
	meetingPause = 100 * time.Millisecond
	// floodRate is how many messages a second are taken in the long run, and floodBurst how
	// many at once. To take one costs little, since of each machine the newest alone is read;
	// what waits on the way to us keeps the others' news waiting, and what the broker has no
	// room for it leaves out.
	floodRate  = 50_000
	floodBurst = 2 * maxPeers
	// keptBurst is how many messages a broker keeps for one who does not read as fast as
	// they come, as mosquitto does by itself; of more it leaves out some and does not say so.
	// In the long run it leaves out none of keptRate a second.
	keptBurst = 1000
	keptRate  = 500
	// askAnyway is how long a flood may last until all is asked for in spite of it.
	askAnyway = time.Minute
	// tellAtOnce is of how many machines is told at once: the state is written for all of
	// them together, and each takes some memory meanwhile.
	tellAtOnce = 128
)

// peers are the other machines, as one source hears them.
type peers struct {
	*mqtt
	wakes chan struct{}
	// reads bounds how much is read, and kept is as much as no broker leaves anything out of.
	// flooded says that there was more: then it may have left out what others said.
	reads, kept *rate.Limiter
	flooded     atomic.Bool
	// met says that machines were seen for the first time, and asked is when all was
	// asked for because of a flood; both are run's own.
	met   bool
	asked time.Time

	// open are those of which there may be something to tell, and wrong those whose last
	// message was none; both are run's own.
	open, wrong map[string]bool
	// nonsense is of whom the log has such a message; it is run's own.
	nonsense seldom

	mu    sync.Mutex // guards what follows
	inbox map[string][]byte
	by    map[string]*peer
	// connection counts those that were lost: what came over one is not how others stand
	// when it is lost.
	connection int
}

// A peer is another machine.
type peer struct {
	// seen is what the state has, and known whether it has anything.
	seen  bulletin
	known bool
	// now is what it said last, and heard whether it did since we are connected.
	now   bulletin
	heard bool
	// since is since when it stands as it does.
	since time.Time
	// due is before when nothing is told of it.
	due time.Time
	// met is when it was heard for the first time, since we run, and forgotten says that
	// somebody has taken from the broker what it said.
	met       time.Time
	forgotten bool
}

func newPeers(s *mqtt) *peers {
	return &peers{
		mqtt: s, wakes: make(chan struct{}, 1), reads: rate.NewLimiter(floodRate, floodBurst),
		kept:  rate.NewLimiter(keptRate, keptBurst),
		inbox: map[string][]byte{}, by: map[string]*peer{}, wrong: map[string]bool{}, open: map[string]bool{},
		nonsense: seldom{},
	}
}

// arrived counts a message. What the broker kept from before we asked is what we asked for.
func (p *peers) arrived(retained bool) {
	if !retained && !p.kept.Allow() {
		p.flooded.Store(true)
	}
}

// deliver takes a message for the next look. It keeps the sender waiting when there are
// too many.
func (p *peers) deliver(host string, message []byte) {
	if host == string(p.settings.Host) { // At once: what we say now would take its place
		if w, err := parseBulletin(message); err == nil {
			p.echo(w)
		}
		return
	}
	p.await()
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.by[host]; host == "" || !known && len(p.by)+len(p.inbox) >= maxPeers {
		return
	}
	if len(message) > maxBulletin {
		message = message[:maxBulletin+1] // It is dropped, with a word
	}
	p.inbox[host] = message
	wake(p.wakes)
}

// await keeps the sender waiting when there are too many messages.
func (p *peers) await() {
	if wait := p.reads.Reserve().Delay(); wait > 0 {
		p.flooded.Store(true)
		<-time.After(wait)
	}
}

// run reads what has come, and tells of it, until ctx is done.
func (p *peers) run(ctx context.Context, emit func(netwatch.Event) error) {
	p.recall()
	for ctx.Err() == nil {
		wait := p.look(emit)
		var due <-chan time.Time
		if wait >= 0 {
			due = time.After(wait)
		}
		if p.met {
			p.met = false
			rest(ctx, meetingPause)
		}
		select {
		case <-ctx.Done():
		case <-p.wakes:
		case <-due:
		}
		rest(ctx, readingPause)
	}
}

// rest waits, unless ctx is done.
func rest(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// count is how many machines there are.
func (p *peers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.by)
}

// recall takes the machines from the state.
func (p *peers) recall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, text := range p.env.Sights(netwatch.PeerChanged) {
		host, ours := strings.CutPrefix(key, p.key(""))
		w, err := parseBulletin([]byte(text))
		if !ours || err != nil || host == string(p.settings.Host) || len(p.by) >= maxPeers || p.by[host] != nil {
			continue
		}
		w.Stood = standingIn(text)
		p.by[host] = &peer{seen: w, known: true, now: w, since: time.Now()}
	}
}

// look reads what has come, and tells of what is another. It returns how long to wait
// for the next look, or less than zero.
func (p *peers) look(emit func(netwatch.Event) error) (wait time.Duration) {
	p.mu.Lock()
	inbox, connection := p.inbox, p.connection
	p.inbox = map[string][]byte{}
	p.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(inbox)) {
		p.read(host, inbox[host], connection)
	}
	wait = p.calm()
	var all []telling
	for _, host := range slices.Sorted(maps.Keys(p.open)) {
		do, again := p.next(host, emit)
		if do != nil {
			all = append(all, telling{host, do})
		} else {
			wait = p.later(host, again, wait)
		}
	}
	for some := range slices.Chunk(all, tellAtOnce) {
		for i, again := range together(some) {
			wait = p.later(some[i].host, again, wait)
		}
	}
	return wait
}

// A telling is what is to be told of a machine, which returns how long to wait for the next.
type telling struct {
	host string
	do   func() time.Duration
}

// together tells all of it at once, so that the state is written for all together.
func together(some []telling) []time.Duration {
	waits := make([]time.Duration, len(some))
	var all sync.WaitGroup
	for i, t := range some {
		all.Go(func() { waits[i] = t.do() })
	}
	all.Wait()
	return waits
}

// later notes when there may be something to tell of a machine again, unless it is less than
// zero, and returns the sooner of that and of wait.
func (p *peers) later(host string, again, wait time.Duration) time.Duration {
	if again < 0 {
		delete(p.open, host)
		return wait
	}
	if wait < 0 {
		return again
	}
	return min(wait, again)
}

// calm asks for everything once more when a flood is over, or does not end.
func (p *peers) calm() (wait time.Duration) {
	if !p.flooded.Load() {
		p.asked = time.Now()
		return -1
	}
	if p.kept.Tokens() < keptBurst/2 && time.Since(p.asked) < askAnyway {
		return time.Second
	}
	p.flooded.Store(false)
	p.asked = time.Now()
	wake(p.up)
	return -1
}

// read takes what a machine said over a connection.
func (p *peers) read(host string, message []byte, connection int) {
	if len(message) == 0 {
		p.forgotten(host)
		return
	}
	w, err := parseBulletin(message)
	if p.complain(host, err); err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if connection != p.connection {
		return
	}
	one := p.by[host]
	if one == nil && len(p.by) >= maxPeers { // Others were read since it was let in
		return
	}
	if one == nil {
		one = &peer{met: time.Now()}
		p.by[host] = one
	}
	if one.hear(w) {
		p.open[host] = true
	}
}

// complain says once that what a machine says is not understood.
func (p *peers) complain(host string, err error) {
	before := p.wrong[host]
	if err == nil {
		delete(p.wrong, host)
	} else if len(p.wrong) < maxPeers {
		p.wrong[host] = true
	}
	if err != nil && !before && p.nonsense.may(host) {
		p.env.Log.Warn().Str("source", p.name).Str("peer", host).Err(err).Msg("what another machine says was dropped")
	}
}

// forgotten notes that somebody took from the broker what a machine said.
func (p *peers) forgotten(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.by[host]; one != nil {
		one.forgotten = true
		p.open[host] = true
	}
}

// forget forgets such a machine.
func (p *peers) forget(host string) {
	p.mu.Lock()
	one := p.by[host]
	delete(p.by, host)
	p.mu.Unlock()
	if one != nil && one.known {
		p.trouble(&p.forgetting, p.env.See(netwatch.PeerChanged, p.key(host), ""))
	}
}

// hear takes a bulletin, and says whether there may be something to tell. What is older than
// what was heard, or as old, is not heard; over a new connection of ours, what is as old is,
// since before not all of it may have been told. A last will has no addresses, and is of its
// connection.
func (one *peer) hear(w bulletin) bool {
	first := one.now.Number == 0
	switch {
	case !first && (w.Lost && w.Connect < one.now.Connect || !w.Lost && w.Number < one.now.Number):
		return false
	case one.heard && !w.Lost && !one.now.Lost && w.Number == one.now.Number:
		return false
	case w.Lost && !first:
		w.Number, w.Addresses, w.Told = max(w.Number, one.now.Number), one.now.Addresses, one.now.Told
	}
	if !one.heard || one.now.Lost != w.Lost {
		one.since = time.Now()
	}
	w.Stood = one.now.Stood.after(w.Addresses, time.Now())
	if w.Gone = (time.Time{}); w.Lost {
		w.Gone = cmp.Or(one.now.Gone, one.since)
		one.since = w.Gone
	}
	one.now, one.heard, one.forgotten = w, true, false
	return true
}

// unhear notes that there is no connection: nobody knows how the others are.
func (p *peers) unhear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connection++
	clear(p.inbox)
	for _, one := range p.by {
		if one.heard {
			one.heard, one.since = false, time.Now()
		}
	}
}

// next is what tells the first thing of a machine that the state does not have. If there is
// none, it is nil, and wait is how long to wait for it, or less than zero.
func (p *peers) next(host string, emit func(netwatch.Event) error) (tell func() time.Duration, wait time.Duration) {
	p.mu.Lock()
	entry, is := p.by[host]
	one := peer{}
	if is {
		one = *entry
	}
	p.mu.Unlock()
	if wait := time.Until(one.met.Add(peerPause)); one.forgotten && wait > 0 {
		return nil, wait // Each time the state is written
	}
	if one.forgotten {
		return func() time.Duration {
			p.forget(host)
			return -1
		}, 0
	}
	if !one.heard {
		return nil, -1 // When it is heard again, it is looked at again
	}
	if wait := time.Until(one.due); wait > 0 {
		return nil, wait
	}
	if gone := time.Until(one.since.Add(goneTime)); one.now.Lost && !one.seen.Lost && one.known && gone > 0 {
		return nil, gone
	}
	if !one.known {
		p.met = true
		text := string(one.now.text())
		return func() time.Duration {
			return p.accept(entry, one.now, p.env.See(netwatch.PeerChanged, p.key(host), text), -1)
		}, 0
	}
	name, fields, after := difference(one.seen, one.now)
	if name == "" {
		return nil, -1
	}
	fields["peer"] = host
	ev := netwatch.NewEvent(name, p.name, fields)
	ev.Heard = heardAll
	ev.Sight = netwatch.Sight{Event: netwatch.PeerChanged, Of: p.key(host), Value: string(after.text())}
	return func() time.Duration { return p.accept(entry, after, emit(ev), peerPause) }, 0
}

// heardAll is done: with a machine's message all is heard that it says.
var heardAll = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// accept notes what the state has now, if it has.
func (p *peers) accept(one *peer, after bulletin, refused error, pause time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refused != nil {
		one.due = time.Now().Add(refusedTime)
		return refusedTime
	}
	one.seen, one.known, one.due = after, true, time.Now().Add(pause)
	return pause
}

// difference is the first thing to tell of a machine that says now, and what is to be in
// the state with it; no name says that there is nothing. That a machine does not know an
// address of its own is no change.
func difference(seen, now bulletin) (name string, fields map[string]string, after bulletin) {
	after = seen
	after.Number, after.Connect, after.Version = now.Number, now.Connect, cmp.Or(now.Version, seen.Version)
	after.Lost, after.Gone = now.Lost, now.Gone
	fields = map[string]string{}
	switch {
	case now.Lost && !seen.Lost:
		return netwatch.PeerLost, fields, after
	case !now.Lost && seen.Lost:
		return netwatch.PeerBack, fields, after
	}
	for _, h := range now.Told {
		if h.Number > seen.told(h.Event).Number {
			fields["told"], fields["family"], fields["old"], fields["new"] = h.Event, h.Family, h.Old, h.New
			after = after.hand(h)
			if now.addressed(h) {
				after = after.with(netwatch.Family(h.Family), now)
			}
			return netwatch.PeerChanged, fields, after
		}
	}
	for _, family := range netwatch.Families {
		is, was := now.Addresses[family].Address, seen.Addresses[family].Address
		if is.IsValid() && is != was {
			fields["told"], fields["family"], fields["new"] = netwatch.IPChanged, string(family), is.String()
			if was.IsValid() {
				fields["old"] = was.String()
			}
			return netwatch.PeerChanged, fields, after.with(family, now)
		}
	}
	return "", nil, after
}

// addressed says whether an event that is handed on tells of an address of the bulletin.
func (w bulletin) addressed(h handed) bool {
	a, is := w.Addresses[netwatch.Family(h.Family)]
	return h.Event == netwatch.IPChanged && is && a.Address.String() == h.New
}

// with is the bulletin with the address of another.
func (w bulletin) with(family netwatch.Family, of bulletin) bulletin {
	all := maps.Clone(w.Addresses)
	if all == nil {
		all = netwatch.Addresses{}
	}
	all[family] = of.Addresses[family]
	stood := maps.Clone(w.Stood)
	if stood == nil {
		stood = standing{}
	}
	stood[family] = of.Stood[family]
	w.Addresses, w.Stood = all, stood
	return w
}

// A present is a machine that is here, and what it says.
type present struct {
	host string
	now  bulletin
}

// present are those that are here.
func (p *peers) present() (all []present) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for host, one := range p.by {
		if one.heard && !one.now.Lost {
			all = append(all, present{host, one.now})
		}
	}
	return all
}

// stood is for how long a machine that is here has said an address.
func (p *peers) stood(host string, a netip.Addr) (span time.Duration, said bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.by[host]
	if one == nil || !one.heard || one.now.Lost {
		return 0, false
	}
	return one.now.Stood.since(a)
}

// all are the machines by their names.
func (p *peers) all() []netwatch.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []netwatch.Peer{}
	for _, host := range slices.Sorted(maps.Keys(p.by)) {
		one := p.by[host]
		state := netwatch.PeerUnknown
		switch {
		case one.heard && one.now.Lost:
			state = netwatch.PeerGone
		case one.heard:
			state = netwatch.PeerHere
		}
		addresses := netwatch.Addresses{} // An object for who reads JSON, also where there is none
		maps.Copy(addresses, one.now.Addresses)
		all = append(all, netwatch.Peer{
			Peer: host, State: state, Since: one.since, Version: one.now.Version, Addresses: addresses,
		})
	}
	return all
}

// Check tries the connection: it returns nil when the broker has answered.
func (s *mqtt) Check(ctx context.Context) error {
	if err := s.sayConnected(ctx); err != nil {
		return err
	}
	return errors.Join(s.Trouble())
}
