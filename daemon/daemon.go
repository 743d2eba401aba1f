// Package daemon is the resident program. It wires together the sources of a
// configuration, its rules, the state, the history and the control socket.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/history"
	"netwatch/hooks"
	"netwatch/sources"
	"netwatch/state"
)

// A Daemon is the resident program: sources emit events to the dispatcher, which
// reports to the log and to history.
type Daemon struct {
	version string
	log     zerolog.Logger
	env     actions.Env
	edges   Edges
	since   time.Time
	config  atomic.Pointer[config.Config]
	refused atomic.Pointer[string] // why the last reload failed
	store   *state.Store
	rules   *hooks.Dispatcher
	watch   *watchers
	history *history.Log
	// reasons are what gave reason to look lately, and outages who is not heard.
	reasons reasons
	outages outages
	metrics *control.Metrics
	// begun says that started has been emitted. What was noticed before it belongs to the
	// same run, and waits for it.
	begun atomic.Bool
}

// New reads the configuration and the state, and starts nothing. Of env it takes only
// how files are rewritten; the rest of what actions get is the daemon's own. Run
// closes the state and the history.
func New(file, version string, log zerolog.Logger, env actions.Env) (*Daemon, error) {
	return NewAt(Edges{}, file, version, log, env)
}

// NewAt is New in another world. Of env it takes also the machine.
func NewAt(edges Edges, file, version string, log zerolog.Logger, env actions.Env) (*Daemon, error) {
	d := &Daemon{
		version: version, env: env, edges: edges, metrics: control.NewMetrics(),
		outages: outages{all: map[netwatch.Family]outage{}},
	}
	d.env.Tell = func(ctx context.Context, name string, events []netwatch.Event) netwatch.Result {
		return d.watch.handOn(ctx, name, events) // There are no watchers yet
	}
	d.env.Outside = func(ctx context.Context, name string, p netwatch.Place) netwatch.Sighting {
		return d.watch.outside(ctx, name, p)
	}
	d.env.Units = func() []string { return d.config.Load().Needs().UnitNames() }
	d.env.Probe, d.env.Starts, d.env.Reopen = d.probe, starts{d}, actions.NewReopener(d.reopened).Ask
	cfg, err := config.Load(file, d.env)
	if err != nil {
		return nil, err
	}
	d.config.Store(cfg)
	d.log = log.Level(zerolog.Level(cfg.Daemon.Log))
	var damage error
	if d.store, damage, err = edges.openState(string(cfg.Daemon.State)); err != nil {
		return nil, err
	}
	d.since = time.Now() // What was confirmed before, an earlier process confirmed
	d.store.Notify(d.unwritten)
	d.history = history.Open(string(cfg.Daemon.State), d.report)
	d.rules = hooks.New(hooks.NewTable(cfg.Rules), d.store, d.report)
	if edges.Random != nil {
		d.rules.Random = edges.Random
	}
	d.watch = newWatchers(d.emit, d.report, sources.Env{
		Known: d.store.Known, Confirm: d.confirm, Doubt: d.doubt, Seen: d.store.Seen, See: d.store.See,
		Sights: d.store.Sights, Version: version, Wrote: d.store.Wrote, Reopen: d.env.Reopen, Log: d.log,
		Bound:   func() []netip.Addr { return d.config.Load().Bound() },
		Relays:  func() ([]netip.Addr, error) { return d.config.Load().RelaysBy(edges.read()) },
		Outside: actions.LookFromOutside,
		Edges:   edges.Sources,
	})
	d.watch.env.Look = d.look
	if damage != nil {
		d.note(damage)
	}
	return d, nil
}

// probe lends the watchers to actions, which are made before there are watchers.
func (d *Daemon) probe(ctx context.Context, name string, followed bool) netwatch.Result {
	d.reasons.look()
	return d.watch.probe(ctx, name, followed)
}

// reopened logs how root was asked to open files again, when that is news.
func (d *Daemon) reopened(err error) {
	if err != nil {
		d.log.Warn().Err(err).Str("hint", netwatch.Hint(err)).Msg("root cannot be asked to open files again")
		return
	}
	d.log.Info().Msg("root opens files again")
}

// starts lends the store to actions, which are made before the store is open.
type starts struct{ d *Daemon }

func (s starts) Of(unit string) []time.Time             { return s.d.store.Of(unit) }
func (s starts) Record(unit string, at time.Time) error { return s.d.store.Record(unit, at) }

// emit accepts an event of a source. If it is refused, it says why, and the source
// notices it again.
func (d *Daemon) emit(ev netwatch.Event) error {
	_, err := d.rules.Accept(d.timed(d.dated(ev)), nil)
	if err != nil && !errors.Is(err, hooks.ErrOutdated) {
		d.note(err)
	}
	if err == nil && ev.About() == netwatch.AboutAddress {
		d.watch.moved()
	}
	return err
}

// timed is an event as it has a window end. Before started is emitted, none ends sooner.
func (d *Daemon) timed(ev netwatch.Event) netwatch.Event {
	if !d.begun.Load() {
		ev.Heard = nil
	}
	return ev
}

// reload puts the configuration file in force. If the file has mistakes, the old
// configuration stays.
func (d *Daemon) reload() {
	old := d.config.Load()
	cfg, err := config.Load(old.File, d.env)
	if err != nil {
		d.note(fmt.Errorf("reloading the configuration: the old one stays in force: %w", err))
		refused := err.Error()
		d.refused.Store(&refused)
		return
	}
	d.refused.Store(nil)
	kept := old.Daemon
	if kept.SMTP = cfg.Daemon.SMTP; cfg.Daemon != kept { // Steps have the mail server
		d.log.Warn().Msg("reloading the configuration: [daemon] has changed, which takes effect at the next start")
	}
	d.config.Store(cfg)
	d.rules.Swap(hooks.NewTable(cfg.Rules))
	d.watch.set(cfg.Sources)
	d.log.Info().Int("sources", len(cfg.Sources)).Int("rules", len(cfg.Rules)).Msg("configuration reloaded")
}
