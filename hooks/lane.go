package hooks

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"netwatch"
	"netwatch/state"
)

// The pauses between tries of a failing run: doubled each time, with jitter, up
// to the ceiling.
const (
	firstPause   = time.Second
	pauseCeiling = time.Minute
)

// nothingChanged is the detail of a step that is skipped.
const nothingChanged = "nothing changed before it"

// A lane runs one rule. It gathers events into the run that waits, starts that when
// its window is over, and never has two runs going at once. It has a goroutine only
// while a run goes; before that, a timer waits.
type lane struct {
	d *Dispatcher

	mu      sync.Mutex
	rule    *Rule
	waiting *run
	running *run
	doing   *Doing          // the step that running is at, once one has begun
	ends    time.Time       // when the timeout of running is over
	last    *netwatch.Entry // how the last run ended
	timer   *time.Timer
	told    *notices
	closed  bool // the dispatcher drains: what waits does not start
	retired bool // the rule is gone: nothing is tried again
}

// A run does the steps of a rule once because of some events, and knows how far it
// has come.
type run struct {
	events  []netwatch.Event
	watches []func(netwatch.Entry)
	// changed says that a gate changed something, and owes that not all steps which
	// wait for that have succeeded since.
	changed, owes bool
	// acted are the addresses that the last gate was told.
	acted netwatch.Addresses
	// touched is when a step of it last changed something, or may have.
	touched time.Time
	// change is the change of our address because of which it runs, if there is one.
	change *change
	// failed says that a notice has told of a failure. Another one then tells how
	// the run ended, even if nothing changed.
	failed bool
	// revived says that steps were done once more because a proof found its server dead.
	revived bool
	// next is the step that it goes on with; those before it have succeeded.
	next int
	// due is when it may start: when the window ends, or when it is tried again.
	due time.Time
	// hearing is how many of its events are there whose looks have not heard all yet, or which
	// no look found. When none is left the window ends sooner.
	hearing int
	// tried is how the last try ended; nil before the first.
	tried *netwatch.Entry
	// giveUp is when it is no longer tried again, set by the first failure.
	giveUp time.Time
	pauses *backoff.ExponentialBackOff
}

// newLane makes a lane in which nothing waits.
func newLane(d *Dispatcher, r *Rule) *lane {
	l := &lane{d: d, rule: r, told: &notices{d: d}}
	l.timer = time.AfterFunc(time.Hour, l.start) // Which would find nothing to do
	return l
}

// accept adds an event to the run that waits, or begins one with a window of its
// own. A run that waits to be tried again is replaced by one that takes its events
// along and does all of the steps.
func (l *lane) accept(ev netwatch.Event, watch func(netwatch.Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, prompt := l.waiting, l.rule.Prompt && ev.Heard != nil
	if w == nil || w.tried != nil {
		l.prepare(prompt)
	}
	switch {
	case w == nil:
		w = &run{due: time.Now().Add(l.rule.Settle)}
	case w.tried != nil:
		w = &run{
			due: time.Now().Add(l.rule.Settle), events: w.events, changed: w.changed, owes: w.owes, failed: w.failed,
			touched: w.touched, watches: w.watches, change: w.change,
		}
	default:
		w.next = 0 // The event wants all steps
	}
	w.events = netwatch.Coalesce(w.events, ev)
	w.change = w.change.with(changeOf(ev))
	if watch != nil {
		w.watches = append(w.watches, watch)
	}
	l.waiting = w
	l.hear(w, ev, prompt)
	l.schedule()
}

// hear has the window of a run end when the looks have heard all that found its events
// out. One event that no look found has it last. l.mu is held.
func (l *lane) hear(w *run, ev netwatch.Event, prompt bool) {
	if w.hearing++; !prompt {
		return
	}
	context.AfterFunc(ev.Heard, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if w.hearing--; w.hearing == 0 && l.waiting == w && w.tried == nil {
			w.due = time.Now()
			l.schedule()
		}
	})
}

// preparation is how long before the end of a window steps are told to prepare. To
// start the helper takes 60 ms on a fast machine, and several times that on a small
// board.
const preparation = 400 * time.Millisecond

// prepare is called when a window opens. Shortly before the window ends, it tells the
// steps that take time to start that their run is near. If it told them at once, what
// they start would have to wait for the whole of a long window.
func (l *lane) prepare(prompt bool) {
	after := l.rule.Settle - preparation
	if prompt {
		after = 0
	}
	for _, step := range l.rule.Do {
		if p, ok := step.Action.(netwatch.Preparer); ok {
			time.AfterFunc(after, p.Prepare)
		}
	}
}

// resume takes up what an earlier process left, after a window as for a new
// event: what happens as netwatch starts belongs to the same run. It goes on with the
// step that failed, if one did.
func (l *lane) resume(r state.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare(false)
	l.waiting = &run{
		events: r.Events, changed: r.Changed, owes: r.Changed, touched: time.Now(), next: l.rule.after(r.Done),
		due: time.Now().Add(l.rule.Settle), hearing: 1, // No look found these
	}
	for _, ev := range r.Events {
		l.waiting.change = l.waiting.change.with(changeOf(ev))
	}
	l.schedule()
}

// schedule sets the timer for the run that waits. l.mu is held.
func (l *lane) schedule() {
	if l.waiting != nil && l.running == nil && !l.closed {
		l.timer.Reset(time.Until(l.waiting.due))
	}
}

// start does the run that waits, if it is due, and then sets the timer for the next.
// The timer calls it, in a goroutine that ends with it.
func (l *lane) start() {
	l.mu.Lock()
	if l.closed || l.running != nil || l.waiting == nil || time.Now().Before(l.waiting.due) {
		l.schedule() // The timer was set for a run that has been replaced
		l.mu.Unlock()
		return
	}
	rule := l.rule
	l.running, l.waiting, l.ends = l.waiting, nil, time.Now().Add(rule.Timeout)
	l.d.runs.Add(1)
	l.mu.Unlock()
	defer l.d.runs.Done()
	again := l.execute(rule, l.running)
	l.mu.Lock()
	defer l.mu.Unlock()
	if again != nil && l.rule != rule {
		again.next = l.rule.after(rule.Texts()[:again.next]) // A reload has put another rule in force
	}
	l.requeue(again)
	l.running, l.doing = nil, nil
	l.schedule()
}

// requeue puts a run back that is to be tried again. If a newer one waits, that
// takes over its events and its callers instead. l.mu is held.
func (l *lane) requeue(r *run) {
	w := l.waiting
	switch {
	case r == nil:
	case l.retired:
		l.d.orphan(l.rule.Name, r)
	case w == nil:
		l.waiting = r
	default:
		w.changed, w.owes, w.failed = w.changed || r.changed, w.owes || r.owes, w.failed || r.failed
		w.touched = later(r.touched, w.touched)
		w.change = w.change.with(r.change)
		w.watches = append(r.watches, w.watches...)
		w.events = slices.Concat(r.events, w.events)
		w.events = w.events[max(0, len(w.events)-netwatch.MaxCoalesced):]
	}
}

// execute does the steps from r.next on, up to the notices. It returns the run if
// it is to be tried again, and nil if it has ended.
func (l *lane) execute(rule *Rule, r *run) *run {
	ctx, cancel := context.WithTimeoutCause(l.d.ctx, rule.Timeout, overtime(rule.Timeout))
	defer cancel()
	failure, failed := l.d.store.Get().Failures[rule.Name]
	if failure.Changed && !r.changed {
		r.touched = time.Now() // By an earlier run, nobody knows when
	}
	r.changed, r.owes, r.failed = r.changed || failure.Changed, r.owes || failure.Changed, r.failed || failed
	outcome := netwatch.Unchanged
	for end := rule.notices(); r.next < end; r.next++ {
		result := l.revive(ctx, rule, r, l.step(ctx, rule, r))
		switch result.Outcome {
		case netwatch.Failed, netwatch.Held:
			return l.again(rule, r, result)
		case netwatch.Changed:
			outcome = netwatch.Changed
		}
	}
	l.d.save(func(s *state.State) { s.End(rule.Name, idsOf(r.events)) })
	e := l.runEntry(rule, r, netwatch.Result{Outcome: outcome})
	e.Wrong = r.change.wrong()
	l.ended(rule, r, e)
	return nil
}

// step does one step, or skips it, and reports it.
func (l *lane) step(ctx context.Context, rule *Rule, r *run) netwatch.Result {
	began := time.Now()
	step := rule.Do[r.next]
	result := netwatch.Result{Outcome: netwatch.Skipped, Detail: nothingChanged}
	if r.owes || !rule.gated(r.next) {
		l.does(step.Text, "")
		job := l.job(rule, r, step)
		result = l.do(ctx, step, r, job)
		r.heed(rule, result)
		if step.Gate {
			r.acted = job.Confirmed
			l.left(rule, job.Confirmed)
		}
	}
	if result.Outcome == netwatch.Changed {
		r.touched = time.Now()
	}
	r.change.did(step, result.Outcome, began)
	l.did(rule, r, step, result, began)
	return result
}

// heed notes what the outcome of its step means for the steps that wait for a change.
func (r *run) heed(rule *Rule, result netwatch.Result) {
	switch {
	case result.Outcome == netwatch.Failed || result.Outcome == netwatch.Held:
	case rule.Do[r.next].Gate && result.Outcome == netwatch.Changed:
		r.changed, r.owes = true, true
	case rule.lastGated(r.next):
		r.owes = false
	}
}

// do does a step. That a proof fails is nothing to say if the address has become another
// meanwhile: who told of that has it proven anew.
func (l *lane) do(ctx context.Context, step netwatch.Step, r *run, job netwatch.Job) netwatch.Result {
	result := step.Do(ctx, job)
	if !step.Proof || result.Outcome != netwatch.Failed {
		return result
	}
	for family, now := range l.d.store.Confirmed() {
		if job.Confirmed[family].Address != now.Address || l.outrun(r, family, now) {
			return netwatch.Result{Outcome: netwatch.Skipped, Detail: "the public address is another by now: " +
				now.Address.String()}
		}
	}
	return l.saysKnown(step.Text, r, result)
}

// outrun says whether the run's last gate acted on another address than the one of now, and
// a run waits that is to act on that.
func (l *lane) outrun(r *run, family netwatch.Family, now netwatch.Address) bool {
	acted, did := r.acted[family]
	l.mu.Lock()
	defer l.mu.Unlock()
	return did && acted.Address != now.Address && l.waiting != nil
}

// did reports a step.
func (l *lane) did(rule *Rule, r *run, step netwatch.Step, result netwatch.Result, began time.Time) {
	e := l.entry(rule, r, result)
	e.Kind, e.Step, e.Seconds = netwatch.EntryStep, step.Text, time.Since(began).Seconds()
	l.tell(r, e)
}

// does notes for the status which step the run is at, and what that waits for.
func (l *lane) does(step, waits string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doing = &Doing{Step: step, Waits: waits, Since: time.Now()}
}

// job is what a step is told.
func (l *lane) job(rule *Rule, r *run, step netwatch.Step) netwatch.Job {
	changing := func(w netwatch.Replacement) error {
		r.changed, r.owes, r.touched = true, true, time.Now()
		return l.d.store.Update(func(s *state.State) {
			s.Change(rule.Name)
			s.Replace(w)
		})
	}
	waiting := func(what string) { l.does(step.Text, what) }
	return netwatch.Job{
		Event: r.newest(), Events: r.events, Steps: rule.Do, Confirmed: l.d.store.Confirmed(), Changing: changing,
		Waiting: waiting, Since: later(r.newest().Time, r.touched),
	}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// again says when a run that failed or was held is tried again, and returns it; or
// gives it up, if it has failed for too long.
func (l *lane) again(rule *Rule, r *run, result netwatch.Result) *run {
	now := time.Now()
	r.due = result.Until
	if result.Outcome == netwatch.Failed {
		if r.giveUp.IsZero() {
			r.giveUp, r.pauses = now.Add(rule.Retry), newPauses()
		}
		if !now.Before(r.giveUp) && l.d.ctx.Err() == nil {
			return l.gaveUp(rule, r, result)
		}
		r.due = now.Add(l.d.spread(r.pauses.NextBackOff()))
		if r.due.After(r.giveUp) {
			r.due = r.giveUp // The last try
		}
	}
	e, retry := l.runEntry(rule, r, result), r.due
	e.Step, e.Retry = rule.Do[r.next].Text, &retry
	r.tried = &e
	l.d.save(func(s *state.State) { s.Stop(rule.Name, idsOf(r.events), rule.Texts()[:r.next], r.owes) })
	l.tell(r, e)
	if result.Outcome == netwatch.Failed {
		r.watches = nil // Who waits is told now; the retry may take an hour
		if !r.failed {
			l.told.add(rule, r, e)
		}
		r.failed = true
	}
	return r
}

// An overtime is the error with which steps end when the timeout of the rule is over.
// Its value is that timeout.
type overtime time.Duration

// Error says that it was the limit of the rule.
func (o overtime) Error() string {
	return fmt.Sprintf("the rule's timeout of %s is over", time.Duration(o))
}

// Is makes it a deadline like any other.
func (o overtime) Is(target error) bool { return target == context.DeadlineExceeded }

// newPauses are the pauses of a run that has just begun to fail.
func newPauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = firstPause, pauseCeiling, 2, 0
	return b
}

// spread is a pause that is up to half longer or shorter, lest many machines try at once.
func (d *Dispatcher) spread(pause time.Duration) time.Duration {
	return time.Duration((0.5 + d.Random()) * float64(pause))
}

// gaveUp ends a run that has failed for good, and has the state remember it.
func (l *lane) gaveUp(rule *Rule, r *run, result netwatch.Result) *run {
	e := l.runEntry(rule, r, result)
	e.Step = rule.Do[r.next].Text
	failure := state.Failure{Time: e.Time, Event: r.newest(), Step: e.Step, Error: e.Error, Hint: e.Hint, Changed: r.owes}
	l.d.save(func(s *state.State) { s.GiveUp(rule.Name, idsOf(r.events), failure) })
	l.ended(rule, r, e)
	return nil
}

// ended reports how a run ended, and has the notices tell of it.
func (l *lane) ended(rule *Rule, r *run, e netwatch.Entry) {
	l.mu.Lock()
	l.last = &e
	l.mu.Unlock()
	l.tell(r, e)
	l.told.add(rule, r, e)
}

// entry is a line of history about a run.
func (l *lane) entry(rule *Rule, r *run, result netwatch.Result) netwatch.Entry {
	ev := r.newest()
	e := netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryRun, ID: ev.ID, Event: ev.Name, Rule: rule.Name,
		Seconds: time.Since(r.events[0].Time).Seconds(),
	}
	e.Tell(result)
	if len(r.events) > 1 {
		e.IDs = idsOf(r.events)
	}
	return e
}

// runEntry is a line of history about a run that ended or failed.
func (l *lane) runEntry(rule *Rule, r *run, result netwatch.Result) netwatch.Entry {
	e := l.entry(rule, r, result)
	r.change.told(&e)
	return e
}

// tell reports an entry, also to the callers who wait for the run.
func (l *lane) tell(r *run, e netwatch.Entry) {
	l.d.report(e)
	for _, watch := range r.watches {
		watch(e)
	}
}

// become puts another rule of the same name in force. The run that waits does all of
// that one's steps, but for those that it has done.
func (l *lane) become(rule *Rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting != nil {
		l.waiting.next = rule.after(l.rule.Texts()[:l.waiting.next])
	}
	l.rule, l.retired = rule, false
}

// retire ends the run that waits, because the rule is gone. The lane stays: a run
// may still be going in it, and the rule may come back.
func (l *lane) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	if l.waiting != nil {
		l.d.orphan(l.rule.Name, l.waiting)
		l.waiting = nil
	}
}

// drain keeps the lane from starting anything more.
func (l *lane) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

func (r *run) newest() netwatch.Event { return r.events[len(r.events)-1] }

func idsOf(events []netwatch.Event) []string {
	ids := make([]string, len(events))
	for i, ev := range events {
		ids[i] = ev.ID
	}
	return ids
}
