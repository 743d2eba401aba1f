package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"netwatch"
	"netwatch/state"
)

// ErrDraining is why nothing is accepted while netwatch ends.
var ErrDraining = errors.New("netwatch is shutting down")

// ErrOutdated is why an event about a file is not accepted that compares with what
// is no longer so: its source looks again.
var ErrOutdated = errors.New("it compares with what is no longer so")

// A Dispatcher runs the rules that events match: one lane a rule, each run's
// steps in order. What it accepts is on disk before it says so; if the disk refuses
// it, its rules run all the same, and the store says what is at risk.
type Dispatcher struct {
	store  *state.Store
	report func(netwatch.Entry)
	// ctx ends the steps of running runs, when draining takes too long.
	ctx  context.Context
	stop context.CancelCauseFunc
	runs sync.WaitGroup
	// sending are lanes that send notices.
	sending sync.WaitGroup

	mu       sync.RWMutex
	table    *Table
	lanes    map[string]*lane
	draining bool
}

// New makes a dispatcher. report gets every entry of history, from any
// goroutine, and must not block.
func New(table *Table, store *state.Store, report func(netwatch.Entry)) *Dispatcher {
	ctx, stop := context.WithCancelCause(context.Background())
	d := &Dispatcher{store: store, report: report, ctx: ctx, stop: stop, table: table, lanes: map[string]*lane{}}
	for _, r := range table.Rules() {
		d.lanes[r.Name] = newLane(d, r)
	}
	return d
}

// Resume takes up the runs that an earlier process accepted and did not end.
func (d *Dispatcher) Resume() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name, r := range d.store.Get().Runs {
		for _, ev := range r.Events {
			e := eventEntry(ev)
			e.Detail = "accepted before the restart"
			d.report(e)
		}
		if l := d.lanes[name]; l != nil {
			l.resume(r)
		} else {
			d.orphan(name, &run{events: r.Events, changed: r.Changed})
		}
	}
}

// Accept takes an event and returns the names of the rules that will run because
// of it, once that is on disk or the disk has refused it; otherwise it fails only
// with ErrOutdated and while netwatch ends. watch, which may be nil, gets every
// entry about those runs until each has ended or failed; it must not block.
func (d *Dispatcher) Accept(ev netwatch.Event, watch func(netwatch.Entry)) ([]string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.draining {
		return nil, ErrDraining
	}
	rules := d.table.Match(ev)
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = r.Name
	}
	if err := d.persist(ev, names); err != nil {
		return nil, fmt.Errorf("accepting %s: %w", ev.Name, err)
	}
	d.report(eventEntry(ev))
	for _, name := range names {
		d.lanes[name].accept(ev, watch)
	}
	return names, nil
}

// eventEntry is the line of history about an event.
func eventEntry(ev netwatch.Event) netwatch.Entry {
	return netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryEvent, ID: ev.ID, Event: ev.Name, Source: ev.Source, Fields: ev.Fields}
}

// persist writes the event's runs, and the address or the file that it is about,
// in one change.
func (d *Dispatcher) persist(ev netwatch.Event, rules []string) error {
	address, believed := addressOf(ev)
	file, seen := fileOf(ev)
	if len(rules) == 0 && !believed && !seen {
		return nil
	}
	var outdated error
	err := d.store.Update(func(s *state.State) {
		if seen && s.Seen[ev.Name][file] != ev.Fields["old"] {
			outdated = ErrOutdated
			return
		}
		s.Accept(ev, rules)
		if believed {
			s.Believe(address)
		}
		if seen {
			s.See(ev.Name, file, ev.Fields["new"])
		}
	})
	return cmp.Or(err, outdated)
}

// fileOf is the file of which a source saw that it has another content.
func fileOf(ev netwatch.Event) (string, bool) {
	return ev.Fields["file"], ev.About() == netwatch.AboutFile && ev.Source != netwatch.Fired
}

// addressOf is the public address that a source found. An event fired by hand
// asks to look again and is never a source of truth.
func addressOf(ev netwatch.Event) (netwatch.Address, bool) {
	if ev.About() != netwatch.AboutAddress || ev.Source == netwatch.Fired {
		return netwatch.Address{}, false
	}
	a, err := netip.ParseAddr(ev.Fields["new"])
	return netwatch.Address{Address: a, Since: ev.Time, Confirmed: ev.Time, By: ev.By}, err == nil
}

// Match is a dry run: the rules that would run on the event now.
func (d *Dispatcher) Match(ev netwatch.Event) []*Rule { return d.Table().Match(ev) }

// Table is the table in force.
func (d *Dispatcher) Table() *Table {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.table
}

// Swap puts another table in force. Runs in progress end by the old rule; what
// waits runs by the new rule of the same name, and is reported as failed where
// there is none.
func (d *Dispatcher) Swap(table *Table) {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[string]bool{}
	for _, r := range table.Rules() {
		there[r.Name] = true
		if l := d.lanes[r.Name]; l != nil {
			l.become(r)
		} else {
			d.lanes[r.Name] = newLane(d, r)
		}
	}
	for name, l := range d.lanes {
		if !there[name] {
			l.retire()
		}
	}
	d.table = table
}

// ErrNothingFailed is why there is nothing to dismiss.
var ErrNothingFailed = errors.New("no run of this rule has failed for good")

// Dismiss forgets the failure of a rule, which need no longer be in the table.
func (d *Dispatcher) Dismiss(rule string) error {
	failure, failed := d.store.Get().Failures[rule]
	if !failed {
		return ErrNothingFailed
	}
	if err := d.store.Update(func(s *state.State) { s.Dismiss(rule) }); err != nil {
		return err
	}
	d.report(netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryNote, ID: failure.Event.ID, Event: failure.Event.Name, Rule: rule,
		Detail: "the failure was dismissed",
	})
	return nil
}

// orphan ends a run whose rule is gone.
func (d *Dispatcher) orphan(rule string, r *run) {
	hint := "fire the event again if it still matters"
	if r.changed {
		hint = "it had changed something, and not done what follows from that: do the rest by hand, as the restart of a unit"
	}
	d.save(func(s *state.State) { s.End(rule, idsOf(r.events)) })
	newest := r.newest()
	e := netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryRun, ID: newest.ID, Event: newest.Name, Rule: rule,
		Outcome: netwatch.Failed, Error: "the rule is no longer in the configuration", Hint: hint,
	}
	d.report(e)
	for _, watch := range r.watches {
		watch(e)
	}
}

// save writes what has already happened. It fails when netwatch has ended before:
// the worst is that it is done once more after a restart.
func (d *Dispatcher) save(change func(*state.State)) {
	if err := d.store.Update(change); err != nil {
		d.report(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Error: err.Error(), Hint: netwatch.Hint(err)})
	}
}

// Drain accepts nothing more, lets the runs in progress end, and returns when
// they have and the last notices are sent, for which there is little time. When
// ctx is done the steps are told to stop. What waits stays on disk for the next
// start.
func (d *Dispatcher) Drain(ctx context.Context) {
	d.mu.Lock()
	d.draining = true
	for _, l := range d.lanes {
		l.drain()
	}
	d.mu.Unlock()
	defer context.AfterFunc(ctx, func() { d.stop(ErrDraining) })()
	d.runs.Wait()
	defer time.AfterFunc(lastNotices, func() { d.stop(ErrDraining) }).Stop()
	d.sending.Wait()
}
