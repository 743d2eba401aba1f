package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
	"netwatch/history"
	"netwatch/hooks"
	"netwatch/sources"
)

// controlled is the daemon as the control socket sees it (control.Daemon).
type controlled struct{ *Daemon }

// Fire accepts an event from the control socket. ip-changed, fired by hand, means
// "look again and act": the sources are asked before the rules run. If none of them
// can tell, the rules act on the address that is known.
func (d controlled) Fire(ctx context.Context, r control.Request, watch func(netwatch.Entry)) (control.Accepted, error) {
	if table := d.rules.Table(); !table.Has(r.Event) {
		names := strings.Join(table.Events(), ", ")
		return control.Accepted{}, fmt.Errorf("%w: %q; rules name %s", control.ErrUnknownEvent, r.Event, names)
	}
	source, err := d.sourceOf(r)
	if err != nil {
		return control.Accepted{}, err
	}
	ev := netwatch.NewEvent(r.Event, source, r.Fields)
	answer := control.Accepted{Event: ev.Name, DryRun: r.DryRun, Rules: d.plans(d.rules.Match(ev))}
	if r.DryRun {
		return answer, nil
	}
	if r.NoWait {
		watch = nil
	}
	d.reasons.give(reasonOf(ev))
	if ev.About() == netwatch.AboutAddress {
		d.lookAgain(ctx, ev, watch)
	}
	names, err := d.rules.Accept(ev, watch)
	if err != nil {
		return control.Accepted{}, err
	}
	answer.ID, answer.Unwritten = ev.ID, d.store.Unwritten()
	answer.Rules = slices.DeleteFunc(answer.Rules, func(p control.Plan) bool { return !slices.Contains(names, p.Name) })
	return answer, nil
}

// sourceOf is the name of the source that a request speaks for. Such a source tells
// of one event only; a request may not speak for a source that looks itself.
func (d controlled) sourceOf(r control.Request) (string, error) {
	if r.Source == "" {
		return netwatch.Fired, nil
	}
	if !slices.ContainsFunc(sources.Kinds, func(k sources.Kind) bool {
		s, ok := k.Settings().(sources.SpokenFor)
		return ok && k.Name == r.Source && s.Fires() == r.Event
	}) {
		return "", fmt.Errorf("%w: source %q, event %s", control.ErrNotOfSource, r.Source, r.Event)
	}
	name := r.Source
	for _, s := range slices.Backward(d.config.Load().Sources) {
		if s.Kind != r.Source {
			continue
		}
		if f, ok := s.Settings.(sources.SpokenFor); ok && f.MayFire(r.UID) {
			return s.Name, nil
		}
		name = s.Name // Root may fire for each of them
	}
	return name, nil
}

// MayFire says whether a source of the configuration lets a user without
// privileges fire the event.
func (d controlled) MayFire(uid uint32, event string) bool {
	return slices.ContainsFunc(d.config.Load().Sources, func(s config.Source) bool {
		f, ok := s.Settings.(sources.SpokenFor)
		return ok && f.Fires() == event && f.MayFire(uid)
	})
}

// lookTime is how long an event fired by hand waits for the sources.
const lookTime = 3 * time.Second

// lookAgain asks the sources, also for what they hold back, and says so if they cannot
// tell.
func (d controlled) lookAgain(ctx context.Context, ev netwatch.Event, watch func(netwatch.Entry)) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	d.reasons.look()
	r := d.watch.insist(ctx)
	if r.Err == nil {
		return
	}
	err := fmt.Errorf("looking again: %w; acting on what is known", r.Err)
	e := netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryNote, ID: ev.ID, Event: ev.Name,
		Error: err.Error(), Hint: netwatch.Hint(err),
	}
	d.report(e)
	if watch != nil {
		watch(e)
	}
}

func (d controlled) plans(rules []*hooks.Rule) []control.Plan {
	plans := make([]control.Plan, len(rules))
	for i, r := range rules {
		plans[i] = control.Plan{Name: r.Name, Do: r.Texts()}
	}
	return plans
}

// Dismiss forgets that a rule failed for good.
func (d controlled) Dismiss(rule string) error { return d.rules.Dismiss(rule) }

// Status is how the daemon stands.
func (d controlled) Status() control.Status {
	refused := ""
	if r := d.refused.Load(); r != nil {
		refused = *r
	}
	return control.Status{
		Refused: refused, Version: d.version, PID: os.Getpid(), Since: d.since, Config: d.config.Load().File,
		Unwritten: d.store.Unwritten(), Unkept: d.history.Unkept(),
		Addresses: d.store.Known(), Damped: d.watch.damped(), Router: d.watch.router(), Peers: d.watch.peers(),
		Sources: d.watch.status(), Rules: d.rules.Status(),
	}
}

// probeTime is how long a broker is asked: who asks for it does not wait long either.
const probeTime = 4 * time.Second

// Probe asks the broker, and says how the other machines stand.
func (d controlled) Probe(ctx context.Context) control.Probed {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	p := control.Probed{}
	if err := d.watch.check(ctx); err != nil {
		p.Error, p.Hint = err.Error(), netwatch.Hint(err)
	}
	p.Brokers, p.Peers = d.watch.examine(ctx), d.watch.peers()
	return p
}

// Metrics count what the daemon did.
func (d controlled) Metrics() *control.Metrics { return d.metrics }

// History is what the daemon did.
func (d controlled) History() *history.Log { return d.history }
