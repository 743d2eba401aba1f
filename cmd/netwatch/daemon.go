package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/hooks"
	"netwatch/sources"
	"netwatch/state"
)

// A daemon is the resident program: sources emit into the dispatcher, whose
// reports go to the log and to history.
type daemon struct {
	log     zerolog.Logger
	since   time.Time
	config  atomic.Pointer[config.Config]
	refused atomic.Pointer[string] // why the last reload failed
	store   *state.Store
	rules   *hooks.Dispatcher
	watch   *watchers
	history *control.History
	metrics *control.Metrics
}

// newDaemon reads the configuration and the state, and starts nothing.
func newDaemon(file string, log zerolog.Logger) (*daemon, error) {
	d := &daemon{since: time.Now(), history: control.NewHistory(), metrics: control.NewMetrics()}
	cfg, err := config.Load(file, d.env())
	if err != nil {
		return nil, err
	}
	d.config.Store(cfg)
	d.log = log.Level(zerolog.Level(cfg.Daemon.Log))
	var damage error
	if d.store, damage, err = state.Open(string(cfg.Daemon.State)); err != nil {
		return nil, err
	}
	d.store.Notify(d.unwritten)
	d.rules = hooks.New(hooks.NewTable(cfg.Rules), d.store, d.report)
	d.watch = newWatchers(d.emit, d.report, sources.Env{
		Known: d.store.Known, Confirm: d.store.Confirm, Seen: d.store.Seen, See: d.store.See, Wrote: d.store.Wrote, Log: d.log,
	})
	if damage != nil {
		d.note(damage)
	}
	return d, nil
}

// env is what actions get; the store is there before the first of them runs.
func (d *daemon) env() actions.Env {
	return rotateElsewhere(actions.Env{
		Probe:  func(ctx context.Context, name string) netwatch.Result { return d.watch.probe(ctx, name) },
		Starts: starts{d},
	})
}

// starts lends the store to actions, which are made before it is open.
type starts struct{ d *daemon }

func (s starts) Of(unit string) []time.Time             { return s.d.store.Of(unit) }
func (s starts) Record(unit string, at time.Time) error { return s.d.store.Record(unit, at) }

// emit takes what sources notice. What is refused, they notice again.
func (d *daemon) emit(ev netwatch.Event) {
	if _, err := d.rules.Accept(ev, nil); err != nil {
		d.note(err)
	}
}

// unwritten reports that the disk refuses the state, and that it no longer does.
func (d *daemon) unwritten(u *state.Unwritten) {
	e := netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote}
	if u != nil {
		e.Error, e.Hint = u.Error+"; "+u.Risk(), u.Hint
	} else {
		e.Detail = "the state is on disk again: nothing is at risk any more"
	}
	d.report(e)
}

// note reports what went wrong outside of any run.
func (d *daemon) note(err error) {
	d.report(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Error: err.Error(), Hint: netwatch.Hint(err)})
}

// report puts an entry into the log and into history, and counts it.
func (d *daemon) report(e netwatch.Entry) {
	d.history.Add(e)
	d.metrics.Add(e)
	e = brief(e)
	level := zerolog.InfoLevel
	if e.Outcome == netwatch.Failed || e.Error != "" {
		level = zerolog.ErrorLevel
	}
	line := d.log.WithLevel(level)
	for _, field := range [][2]string{
		{"id", e.ID},
		{"event", e.Event},
		{"source", e.Source},
		{"rule", e.Rule},
		{"step", e.Step},
		{"outcome", string(e.Outcome)},
		{"detail", e.Detail},
		{"error", e.Error},
		{"hint", e.Hint},
	} {
		if field[1] != "" {
			line.Str(field[0], field[1])
		}
	}
	if len(e.IDs) > 1 {
		line.Strs("ids", e.IDs)
	}
	if len(e.Fields) > 0 {
		line.Interface("fields", e.Fields)
	}
	if e.Kind == netwatch.EntryStep || e.Kind == netwatch.EntryRun {
		line.Float64("seconds", e.Seconds)
	}
	if e.Retry != nil {
		line.Time("retry", *e.Retry)
	}
	line.Msg(e.Kind)
}

// Fire accepts an event from the control socket. Fired by hand, ip-changed
// means "look again and act": the sources are asked before the rules run, and
// if none can tell, the rules act on what is known.
func (d *daemon) Fire(ctx context.Context, r control.Request, watch func(netwatch.Entry)) (control.Accepted, error) {
	if table := d.rules.Table(); !table.Has(r.Event) {
		return control.Accepted{}, fmt.Errorf("%w: %q; rules name %s", control.ErrUnknownEvent, r.Event, strings.Join(table.Events(), ", "))
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
	if ev.Name == netwatch.IPChanged {
		d.look(ctx, ev, watch)
	}
	names, err := d.rules.Accept(ev, watch)
	if err != nil {
		return control.Accepted{}, err
	}
	answer.ID, answer.Unwritten = ev.ID, d.store.Unwritten()
	answer.Rules = slices.DeleteFunc(answer.Rules, func(p control.Plan) bool { return !slices.Contains(names, p.Name) })
	return answer, nil
}

// sourceOf is the name of the source that a request speaks for, which tells of
// one event only: what others say is not believed where sources look themselves.
func (d *daemon) sourceOf(r control.Request) (string, error) {
	if r.Source == "" {
		return netwatch.Fired, nil
	}
	if !slices.ContainsFunc(sources.Kinds, func(k sources.Kind) bool {
		s, ok := k.Settings().(sources.Fired)
		return ok && k.Name == r.Source && s.Fires() == r.Event
	}) {
		return "", fmt.Errorf("%w: source %q, event %s", control.ErrNotOfSource, r.Source, r.Event)
	}
	name := r.Source
	for _, s := range slices.Backward(d.config.Load().Sources) {
		if s.Kind != r.Source {
			continue
		}
		if f, ok := s.Settings.(sources.Fired); ok && f.MayFire(r.UID) {
			return s.Name, nil
		}
		name = s.Name // root may fire for each of them
	}
	return name, nil
}

// MayFire says whether a source of the configuration lets a user without
// privileges fire the event.
func (d *daemon) MayFire(uid uint32, event string) bool {
	return slices.ContainsFunc(d.config.Load().Sources, func(s config.Source) bool {
		f, ok := s.Settings.(sources.Fired)
		return ok && f.Fires() == event && f.MayFire(uid)
	})
}

// lookTime is how long an event fired by hand waits for the sources.
const lookTime = 3 * time.Second

// look asks the sources, and says so if they cannot tell.
func (d *daemon) look(ctx context.Context, ev netwatch.Event, watch func(netwatch.Entry)) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r := d.watch.probe(ctx, "")
	if r.Err == nil {
		return
	}
	err := fmt.Errorf("looking again: %w; acting on what is known", r.Err)
	e := netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, ID: ev.ID, Event: ev.Name, Error: err.Error(), Hint: netwatch.Hint(err)}
	d.report(e)
	if watch != nil {
		watch(e)
	}
}

func (d *daemon) plans(rules []*hooks.Rule) []control.Plan {
	plans := make([]control.Plan, len(rules))
	for i, r := range rules {
		plans[i] = control.Plan{Name: r.Name, Do: r.Texts()}
	}
	return plans
}

// Dismiss forgets that a rule failed for good.
func (d *daemon) Dismiss(rule string) error { return d.rules.Dismiss(rule) }

// Status is how the daemon stands.
func (d *daemon) Status() control.Status {
	refused := ""
	if r := d.refused.Load(); r != nil {
		refused = *r
	}
	return control.Status{
		Refused: refused, Version: version, PID: os.Getpid(), Since: d.since, Config: d.config.Load().File,
		Unwritten: d.store.Unwritten(), Addresses: d.store.Known(), Sources: d.watch.status(), Rules: d.rules.Status(),
	}
}

// Metrics count what the daemon did.
func (d *daemon) Metrics() *control.Metrics { return d.metrics }

// History is what the daemon did.
func (d *daemon) History() *control.History { return d.history }

// reload puts the configuration file in force, or keeps the one that is if the
// file has mistakes.
func (d *daemon) reload() {
	old := d.config.Load()
	cfg, err := config.Load(old.File, d.env())
	if err != nil {
		d.note(fmt.Errorf("reloading the configuration: the old one stays in force: %w", err))
		refused := err.Error()
		d.refused.Store(&refused)
		return
	}
	d.refused.Store(nil)
	if cfg.Daemon != old.Daemon {
		d.log.Warn().Msg("reloading the configuration: [daemon] has changed, which takes effect at the next start")
	}
	d.config.Store(cfg)
	d.rules.Swap(hooks.NewTable(cfg.Rules))
	d.watch.set(cfg.Sources)
	d.log.Info().Int("sources", len(cfg.Sources)).Int("rules", len(cfg.Rules)).Msg("configuration reloaded")
}
