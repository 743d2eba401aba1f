package simulate

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"netwatch"
	"netwatch/control"
)

// promises are the events that were accepted.
type promises struct {
	// open are those that the disk has, and of which no end was told, by rule and id.
	open map[promise]bool
	// over are those whose end was told.
	over map[promise]bool
}

// A promise is that a rule acts on an event.
type promise struct{ rule, id string }

// events are those in a state that have not ended.
func (k kept) events() map[promise]bool {
	all := map[promise]bool{}
	for rule, r := range k.Runs {
		for _, ev := range r.Events {
			all[promise{rule, ev.ID}] = true
		}
	}
	return all
}

// replaced notes which events the newest state has. One that was there and is gone must
// have ended. w.mu is held.
func (p *promises) replaced(l *life, k kept) {
	now := k.events()
	for id := range p.open {
		if !now[id] {
			delete(p.open, id)
			l.gone(id)
		}
	}
}

// kept notes which events no power cut can take any more. w.mu is held.
func (p *promises) kept(k kept) {
	for id := range k.events() {
		p.open[id] = true
	}
}

// endTime is within what time the end of a run is told of, after the disk has it.
const endTime = time.Second

// gone is called when the disk has an event no more: its end was told, or is told soon,
// unless the daemon is killed before.
func (l *life) gone(p promise) {
	time.AfterFunc(endTime, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.promised.over[p] && !l.dead {
			l.broken("an event was accepted and forgotten")
		}
	})
}

// ended notes events whose end was told.
func (p *promises) ended(rule string, ids []string) {
	for _, id := range ids {
		p.over[promise{rule, id}] = true
	}
}

// answered is called when somebody is told that an event is accepted. w.mu is held.
func (p *promises) answered(w *World, id string) {
	of := func(all map[promise]bool) bool {
		for p := range all {
			if p.id == id {
				return true
			}
		}
		return false
	}
	if !of(p.open) && !of(p.over) {
		w.broken("an event is said to be accepted, and the disk does not have it")
	}
}

// voiceTime is how far apart those may be who must agree: a poll takes no longer.
const voiceTime = 15 * time.Second

// handTime is how long an address may stand in the state while the one before is on its
// way into the file.
const handTime = time.Second

// rewritten looks whether what is written is true and agreed. w.mu is held.
func (l *life) rewritten(of *file, conf []byte) {
	a := says(conf)
	l.calm(change{of, a})
	if !a.IsValid() {
		l.broken("a file without an address is written")
		return
	}
	f := l.line.families[netwatch.FamilyOf(a)]
	if f == nil || !f.was(a, l.born-voiceTime) {
		l.broken("%s is written, which is not true", a)
		return
	}
	told := f.told[a]
	if len(told) == 0 {
		l.broken("%s is written, which nobody has said", a)
		return
	}
	known := l.disk.known().Addresses[netwatch.FamilyOf(a)].Address
	if len(told) < l.inForce.agree && known != a.String() {
		l.broken("%s is written, which only %d said", a, len(told))
	}
	if !l.disk.atRisk && known != a.String() && l.now()-l.disk.believed > handTime {
		l.broken("%s is written, and %s was accepted", a, known)
	}
}

// needless looks whether a restart is needed: not while the server runs with the file as
// it is. Who was killed may do it once more. w.mu is held.
func (u *unit) needless() {
	wrong, written := "", u.lastWritten()
	switch again := u.by == u.life.number; {
	case u.active == "active" && written.Before(u.since) && again:
		wrong = "the unit is restarted for nothing"
	case len(u.jobs) > 0 && written.Before(u.asked) && again:
		wrong = "the same job is asked for twice"
	case u.active == "inactive" && len(u.jobs) == 0 && written.Before(u.stopped):
		wrong = "a unit that somebody stopped is started"
	}
	u.by = u.life.number
	switch {
	case wrong == "":
	case u.cert.owed > 0: // By the other rule
		u.cert.owed--
	default:
		u.broken("%s", wrong)
	}
}

// calmTime is how long is looked back, and mostChanges how often one address may be
// written in it until it is damped.
const (
	calmTime    = 10 * time.Minute
	mostChanges = 6
)

// A change is one of a file's to an address.
type change struct {
	*file
	to netip.Addr
}

// calm looks whether an address that comes and goes is not written too often. Who fires by
// hand wants it so. w.mu is held.
func (l *life) calm(a change) {
	now := l.now()
	lately := slices.DeleteFunc(l.changes[a], func(at time.Duration) bool { return now-at > calmTime })
	if l.changes[a] = append(lately, now); len(l.changes[a]) > mostChanges && now-l.fired > calmTime {
		l.broken("%s was written %d times in %s", a.to, len(l.changes[a]), calmTime)
	}
}

// settledTime is after how long in a world that holds still what status says must be so:
// a poll, which is rarer where a router says the same, the looks and a restart.
const settledTime = 3 * time.Minute

// look compares what status says with the truth, if the world has held still. w.mu is
// held, and given up meanwhile.
func (w *World) look() {
	l := w.life
	if l == nil || l.dead || l.daemon == nil || time.Since(w.still) < settledTime || w.now()-l.born < settledTime {
		return
	}
	d := l.daemon
	w.mu.Unlock()
	status := d.Status()
	w.mu.Lock()
	if l.dead {
		return
	}
	four, known := status.Addresses[netwatch.IPv4]
	if known && four.Unconfirmed.IsZero() && w.unheard() {
		w.broken("status says that %s is confirmed, and nobody says it", four.Address)
	}
	if (status.Refused != "") != l.refuses {
		w.broken("a configuration with a mistake: %v; and status says %q", l.refuses, status.Refused)
	}
	if wrong := w.broker.misjudged(status); wrong != "" {
		w.broken("%s", wrong)
	}
	if silence := l.silence(); silence != "" {
		w.broken("%s", silence)
	}
	if forgotten := w.forgotten(); forgotten != "" && status.Unwritten == nil {
		w.broken("%s", forgotten)
	}
	if wrong := w.wrong(); wrong != "" && well(status) {
		w.broken("status says that all is well, and %s", wrong)
	}
	if w.rested() {
		w.cert.owed = 0
		w.judged(status, "after a rest")
	}
}

// viewsOf is how a status sees other machines.
func viewsOf(s control.Status) map[string]peerView {
	all := map[string]peerView{}
	for _, p := range s.Peers {
		all[p.Peer] = peerView{p.State, p.Addresses[netwatch.IPv4].Address.String()}
	}
	return all
}

// restTime is within what time all is right in a world that holds still and is well: damping
// may hold an address for five minutes, a job hangs for nearly two, and a run that failed
// waits for a minute and a half.
const restTime = 10 * time.Minute

// rested says whether the world has been well for so long. w.mu is held.
func (w *World) rested() bool {
	rests := time.Since(w.still) > restTime && w.now()-w.life.born > restTime
	return rests && !w.disk.full && w.busUp && len(w.mood.next) == 0 && len(w.unit.jobs) == 0 && !w.excused
}

// unheard says whether nobody can say our address. w.mu is held.
func (w *World) unheard() bool {
	f := w.line.families[netwatch.IPv4]
	return !f.up || !slices.ContainsFunc(w.all, func(s *server) bool {
		return slices.Contains([]manner{honest, slow, lossy, twice}, s.does)
	})
}

// wrong is what is not as it should be, or nothing. w.mu is held.
func (w *World) wrong() string {
	f := w.line.families[netwatch.IPv4]
	reaches := 0
	for _, s := range w.all {
		if s.does == honest {
			reaches++
		}
	}
	switch {
	case !f.up || reaches < w.inForce.agree:
		return ""
	case w.stale() != "":
		return w.stale()
	case w.unit.active == "active" && w.wanted.cert && w.cert.writing == 0 && w.unit.leaf != w.cert.number:
		return fmt.Sprintf("the server has certificate %d, and %d is there", w.unit.leaf, w.cert.number)
	case w.usual.program && w.program.told != f.address.String():
		return fmt.Sprintf("the program was told %q last, and the address is %s", w.program.told, f.address)
	}
	return ""
}

// stale is a file, or a server, that does not say the address. w.mu is held.
func (w *World) stale() string {
	f := w.line.families[netwatch.IPv4]
	for i, of := range w.files {
		switch {
		case says(of.text) != f.address:
			return fmt.Sprintf("%s says %s, and the address is %s", of.name, says(of.text), f.address)
		case w.unit.active == "active" && says(w.unit.conf[i]) != f.address:
			return fmt.Sprintf("%s says %s, and the address is %s", of.server, says(w.unit.conf[i]), f.address)
		}
	}
	return ""
}

// judge sees what it has come to in a world that was well for stillTime. w.mu is held.
func (w *World) judge() {
	l := w.life
	if l == nil || l.dead || l.daemon == nil {
		w.broken("there is no netwatch in the end")
		return
	}
	d := l.daemon
	w.mu.Unlock()
	status := d.Status()
	w.mu.Lock()
	w.judged(status, "in the end")
}

// judged compares the truth with what it has come to, by when. w.mu is held.
func (w *World) judged(status control.Status, when string) {
	failed, waits := false, false
	for _, r := range status.Rules {
		failed, waits = failed || r.Failed != nil, waits || r.Waiting != nil || r.Running != nil
	}
	if status.Unwritten != nil || status.Unkept != nil {
		w.broken("the disk has room, and %s not all is on it", when)
	}
	if len(w.promised.open) > 0 && !waits {
		w.broken("%d events were accepted, and %s nothing waits", len(w.promised.open), when)
	}
	switch wrong := w.wrong(); {
	case wrong == "":
	case failed:
		w.tell("%s it is said that the rule failed for good, and %s", when, wrong)
	default:
		w.broken("%s %s", when, wrong)
	}
}

// retryTime is for how long a run is tried again at the defaults.
const retryTime = time.Hour

// tries looks whether a run that fails is tried for as long as is promised. w.mu is held.
func (l *life) tries(id promise, outcome string, again bool) {
	switch outcome {
	case string(netwatch.Held):
		return // It goes on when the limit lets it
	case string(netwatch.Failed):
	default:
		delete(l.failing, id)
		return
	}
	first, is := l.failing[id]
	if !is {
		l.failing[id], first = l.now(), l.now()
	}
	if !again && l.now()-first < retryTime {
		l.broken("a run is given up after %s", l.now()-first)
	}
}

// well says whether a status says that all is well.
func well(s control.Status) bool {
	if s.Unwritten != nil || len(s.Damped) > 0 || s.Refused != "" {
		return false
	}
	for _, a := range s.Addresses {
		if !a.Unconfirmed.IsZero() {
			return false
		}
	}
	for _, o := range s.Sources {
		if o.Error != "" || len(o.Trouble) > 0 {
			return false
		}
	}
	for _, r := range s.Rules {
		if r.Failed != nil || r.Waiting != nil || r.Running != nil {
			return false
		}
	}
	return true
}
