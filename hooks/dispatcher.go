package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"netwatch"
	"netwatch/state"
)

// ErrDraining is why nothing is accepted while netwatch ends.
var ErrDraining = errors.New("netwatch is shutting down")

// ErrOutdated says why an event about a file is refused: it compares with a content
// that is no longer the last accepted one. Its source looks again.
var ErrOutdated = errors.New("it compares with what is no longer so")

// A Dispatcher accepts events and runs the rules that match them, each rule in a lane
// of its own. It has an event on disk before it says that it is accepted; if the disk
// refuses that, the rules run all the same, and the store says what is at risk.
type Dispatcher struct {
	store  *state.Store
	report func(netwatch.Entry)
	// Random is evenly from 0 to 1; the pauses between tries go by it. Set it before the
	// first event.
	Random func() float64
	// ctx is the context of all steps and notices. stop ends them when draining takes
	// too long.
	ctx  context.Context
	stop context.CancelCauseFunc
	// runs counts the runs in progress, and sending the lanes that send notices.
	runs, sending sync.WaitGroup

	mu       sync.RWMutex
	table    *Table
	lanes    map[string]*lane
	draining bool
}

// New makes a dispatcher, which starts nothing yet. It gives report every entry of
// history, from any goroutine; report must not block.
func New(table *Table, store *state.Store, report func(netwatch.Entry)) *Dispatcher {
	ctx, stop := context.WithCancelCause(context.Background())
	d := &Dispatcher{
		store: store, report: report, Random: rand.Float64, ctx: ctx, stop: stop, table: table, lanes: map[string]*lane{},
	}
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
			d.orphan(name, &run{events: r.Events, owes: r.Changed})
		}
	}
}

// Accept writes down an event and opens the windows of the rules that match it, whose
// names it returns. If the disk refuses the event, that is no error: the only errors
// are ErrOutdated and ErrDraining. watch, which may be nil, gets every entry about
// these runs until each has ended or failed; it must not block.
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
	return netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryEvent, ID: ev.ID, Event: ev.Name, Source: ev.Source,
		Fields: ev.Fields, Noticed: ev.Noticed, After: ev.After, Moments: ev.Moments,
	}
}

// persist writes the event's runs, and the address, the file or the time that it is
// about, in one change: a crash keeps all of it or nothing. What another machine says and no
// rule waits for may be told once more after a crash: many machines that all change now and
// then would have the disk write all the time. An event says what a file was
// before; if the state says otherwise, the event is ErrOutdated, and is not written.
func (d *Dispatcher) persist(ev netwatch.Event, rules []string) error {
	address, believed := addressOf(ev)
	file, seen := fileOf(ev)
	if len(rules) == 0 && !believed && !seen && ev.Sight.Of == "" {
		return nil
	}
	if len(rules) == 0 && ev.Sight.Event == netwatch.PeerChanged {
		d.store.Later(func(s *state.State) { s.See(ev.Sight.Event, ev.Sight.Of, ev.Sight.Value) })
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
		if ev.Sight.Of != "" {
			s.See(ev.Sight.Event, ev.Sight.Of, ev.Sight.Value)
		}
	})
	return cmp.Or(err, outdated)
}

// fileOf is the file that an event is about, if a source noticed that the file has
// another content.
func fileOf(ev netwatch.Event) (string, bool) {
	return ev.Fields["file"], ev.About() == netwatch.AboutFile && ev.Source != netwatch.Fired
}

// addressOf is the public address that an event tells of, if a source found it. An
// event that is fired by hand only asks to look again: its address is not believed.
func addressOf(ev netwatch.Event) (netwatch.Address, bool) {
	if ev.About() != netwatch.AboutAddress || ev.Source == netwatch.Fired {
		return netwatch.Address{}, false
	}
	a, err := netip.ParseAddr(ev.Fields["new"])
	return netwatch.Address{Address: a, Since: ev.Time, Confirmed: ev.Time, By: ev.By, Own: ev.Own}, err == nil
}

// Match lists the rules that would run on the event now. It is a dry run.
func (d *Dispatcher) Match(ev netwatch.Event) []*Rule { return d.Table().Match(ev) }

// Table is the table that is in force.
func (d *Dispatcher) Table() *Table {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.table
}

// Swap puts another table in force. A run in progress ends by the old rule. A run
// that waits goes by the new rule of the same name; if there is none, it is reported
// as failed.
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

// ErrNothingFailed says why nothing can be dismissed.
var ErrNothingFailed = errors.New("no run of this rule has failed for good")

// Dismiss forgets the failure of a rule. The rule itself may be gone from the table.
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

// orphan ends a run whose rule is gone, and reports that as its failure.
func (d *Dispatcher) orphan(rule string, r *run) {
	hint := "fire the event again if it still matters"
	if r.owes {
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

// save writes what has already happened. After the state is closed it cannot, and
// reports that: at worst it is done once more after the restart.
func (d *Dispatcher) save(change func(*state.State)) {
	if err := d.store.Update(change); err != nil {
		d.report(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Error: err.Error(), Hint: netwatch.Hint(err)})
	}
}

// Drain has the dispatcher accept nothing more, and returns when the runs in
// progress have ended and their notices are sent. When ctx is done it tells the steps
// to stop; notices have lastNotices. What waits stays on disk for the next start.
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
