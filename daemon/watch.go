package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
	"netwatch/sources"
)

// sourcePause is how long after it failed a source is run again.
const sourcePause = 5 * time.Second

// watchers run the sources of the configuration in force.
type watchers struct {
	emit   func(netwatch.Event) error
	report func(netwatch.Entry)
	env    sources.Env

	mu  sync.Mutex
	all []*watcher

	// live are the sources of all, for those among them: mu is held while one of
	// them is waited for.
	live atomic.Pointer[[]netwatch.Source]
}

// A watcher runs one source until it is stopped.
type watcher struct {
	config.Source
	source netwatch.Source
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	err error // why it does not watch
}

func newWatchers(emit func(netwatch.Event) error, report func(netwatch.Entry), env sources.Env) *watchers {
	ws := &watchers{emit: emit, report: report, env: env}
	ws.env.Asked, ws.env.Look, ws.env.Vouched = ws.asked, ws.look, ws.vouched
	ws.live.Store(&[]netwatch.Source{})
	return ws
}

// asked are whom the sources ask on the internet.
func (ws *watchers) asked() (all []sources.Asked) {
	for _, s := range *ws.live.Load() {
		if a, ok := s.(interface{ Asked() []sources.Asked }); ok {
			all = append(all, a.Asked()...)
		}
	}
	return all
}

// set runs the sources that are wanted. One whose settings are as before goes on
// undisturbed; the others are stopped and started.
func (ws *watchers) set(wanted []config.Source) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var kept []*watcher
	for _, w := range ws.all {
		if containsSource(wanted, w.Source) {
			kept = append(kept, w)
		} else {
			w.stop()
		}
	}
	ws.all = nil
	for _, s := range wanted {
		ws.all = append(ws.all, ws.running(kept, s))
	}
	all := make([]netwatch.Source, len(ws.all))
	for i, w := range ws.all {
		all[i] = w.source
	}
	ws.live.Store(&all)
}

func containsSource(all []config.Source, s config.Source) bool {
	for _, other := range all {
		if reflect.DeepEqual(other, s) {
			return true
		}
	}
	return false
}

// running finds the watcher of s among those kept, or makes a new one.
func (ws *watchers) running(kept []*watcher, s config.Source) *watcher {
	for _, w := range kept {
		if reflect.DeepEqual(w.Source, s) {
			return w
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{Source: s, source: s.Settings.Source(s.Name, ws.env), cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, ws.emit, ws.report)
	return w
}

// run runs the source until ctx is done. If the source fails, it runs it again after
// a pause.
func (w *watcher) run(ctx context.Context, emit func(netwatch.Event) error, report func(netwatch.Entry)) {
	defer close(w.done)
	for ctx.Err() == nil {
		w.failed(nil)
		err := w.source.Run(ctx, emit)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		err = fmt.Errorf("watching %s: %w", w.Name, err)
		w.failed(err)
		report(netwatch.Entry{
			Time: time.Now(), Kind: netwatch.EntryNote, Source: w.Name,
			Error: err.Error(), Hint: netwatch.Hint(err),
		})
		select {
		case <-time.After(sourcePause):
		case <-ctx.Done():
		}
	}
}

func (w *watcher) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *watcher) stop() {
	w.cancel()
	<-w.done
}

// stop ends all sources and returns when they have ended.
func (ws *watchers) stop() { ws.set(nil) }

// damped are the public addresses that are held.
func (ws *watchers) damped() []netwatch.Damped {
	all := []netwatch.Damped{}
	for _, s := range *ws.live.Load() {
		if d, ok := s.(interface{ Damped() []netwatch.Damped }); ok {
			all = append(all, d.Damped()...)
		}
	}
	return all
}

// probe asks the named source, or all that can be asked when name is empty, to
// look now. Followed says that who asks acts on what is found.
func (ws *watchers) probe(ctx context.Context, name string, followed bool) netwatch.Result {
	return ws.ask(name, func(p netwatch.Prober) netwatch.Result {
		if a, ok := p.(interface {
			Alone(ctx context.Context) netwatch.Result
		}); ok && !followed {
			return a.Alone(ctx)
		}
		return p.Probe(ctx)
	})
}

// insist asks all that can be asked, and has them believe also what they would damp.
func (ws *watchers) insist(ctx context.Context) netwatch.Result {
	return ws.ask("", func(p netwatch.Prober) netwatch.Result {
		if i, ok := p.(interface {
			Insist(ctx context.Context) netwatch.Result
		}); ok {
			return i.Insist(ctx)
		}
		return p.Probe(ctx)
	})
}

// ask asks in a way those that can be asked.
func (ws *watchers) ask(name string, how func(netwatch.Prober) netwatch.Result) netwatch.Result {
	asked := ws.probers(name)
	if len(asked) == 0 {
		which := strings.TrimRight(" "+name, " ")
		return netwatch.Failure(fmt.Errorf("probing: there is no source%s that can be asked", which))
	}
	results := make([]netwatch.Result, len(asked))
	var wg sync.WaitGroup
	for i, p := range asked {
		wg.Go(func() { results[i] = how(p) })
	}
	wg.Wait()
	return joined(results)
}

func (ws *watchers) probers(name string) []netwatch.Prober {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var asked []netwatch.Prober
	for _, w := range ws.all {
		if p, ok := w.source.(netwatch.Prober); ok && (name == "" || name == w.Name) {
			asked = append(asked, p)
		}
	}
	return asked
}

// joined is one result for several: Failed if one of them is, else Changed if one is.
func joined(results []netwatch.Result) netwatch.Result {
	all := netwatch.Result{Outcome: netwatch.Unchanged}
	var details []string
	for _, r := range results {
		switch {
		case r.Outcome == netwatch.Failed:
			all.Outcome, all.Err = netwatch.Failed, errors.Join(all.Err, r.Err)
		case r.Outcome == netwatch.Changed && all.Outcome == netwatch.Unchanged:
			all.Outcome = netwatch.Changed
		}
		if r.Detail != "" {
			details = append(details, r.Detail)
		}
	}
	all.Detail = strings.Join(details, ", ")
	return all
}

// A troubled source can say what it cannot find out although it watches.
type troubled interface{ Trouble() error }

// status is every source, in the order of the configuration.
func (ws *watchers) status() []control.SourceStatus {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	all := make([]control.SourceStatus, len(ws.all))
	for i, w := range ws.all {
		all[i] = control.SourceStatus{Name: w.Name, Kind: w.Kind}
		w.mu.Lock()
		if w.err != nil {
			all[i].Error, all[i].Hint = w.err.Error(), netwatch.Hint(w.err)
		}
		w.mu.Unlock()
		if t, ok := w.source.(troubled); ok {
			if err := t.Trouble(); err != nil {
				for _, part := range netwatch.Parts(err) {
					all[i].Trouble = append(all[i].Trouble, control.Trouble{Error: part.Error(), Hint: netwatch.Hint(part)})
				}
			}
		}
		if n, ok := w.source.(interface{ Note() string }); ok {
			all[i].Note = n.Note()
		}
		if n, ok := w.source.(interface{ Serves() string }); ok {
			all[i].Serves = n.Serves()
		}
	}
	return all
}
