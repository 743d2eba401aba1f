package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"netwatch"
)

// A teller hands events on to other machines.
type teller interface {
	netwatch.Source
	Tell(ctx context.Context, events []netwatch.Event) error
}

// handOn hands events on by the named source, or by all that can when name is empty: at
// once, since a broker that does not answer is waited for.
func (ws *watchers) handOn(ctx context.Context, name string, events []netwatch.Event) netwatch.Result {
	all := those[teller](ws, name)
	err := atOnce(all, func(t teller) error {
		if err := t.Tell(ctx, events); err != nil {
			return fmt.Errorf("telling other machines: %w", err)
		}
		return nil
	})
	switch {
	case err != nil:
		return netwatch.Failure(err)
	case len(all) == 0:
		return netwatch.Failure(errors.New("telling other machines: there is no source for it"))
	case len(all) > 1:
		return netwatch.Result{Outcome: netwatch.Changed, Detail: fmt.Sprintf("%d brokers have it", len(all))}
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: "the broker has it"}
}

// those are the live sources that are an S: the one of that name, or all when it is empty.
func those[S netwatch.Source](ws *watchers, name string) (all []S) {
	for _, s := range *ws.live.Load() {
		if one, is := s.(S); is && (name == "" || name == s.String()) {
			all = append(all, one)
		}
	}
	return all
}

// atOnce asks all of them at once, and returns what went wrong, in their order.
func atOnce[S any](all []S, ask func(S) error) error {
	errs := make([]error, len(all))
	var asked sync.WaitGroup
	for i, one := range all {
		asked.Go(func() { errs[i] = ask(one) })
	}
	asked.Wait()
	return errors.Join(errs...)
}

// moved has the others hear that our address is another.
func (ws *watchers) moved() {
	for _, s := range *ws.live.Load() {
		if m, ok := s.(interface{ Moved() }); ok {
			m.Moved()
		}
	}
}

// peers are the other machines.
func (ws *watchers) peers() []netwatch.Peer {
	all := []netwatch.Peer{}
	for _, s := range *ws.live.Load() {
		if p, ok := s.(interface{ Peers() []netwatch.Peer }); ok {
			all = append(all, p.Peers()...)
		}
	}
	return all
}

// A checker can try its connection to other machines.
type checker interface {
	netwatch.Source
	Check(ctx context.Context) error
}

// check tries the connections to other machines.
func (ws *watchers) check(ctx context.Context) error {
	return atOnce(those[checker](ws, ""), func(c checker) error { return c.Check(ctx) })
}

// examine looks what brokers let machines do that they should not.
func (ws *watchers) examine(ctx context.Context) (all []netwatch.Broker) {
	for _, s := range *ws.live.Load() {
		if e, ok := s.(interface {
			Examine(ctx context.Context) netwatch.Broker
		}); ok {
			all = append(all, e.Examine(ctx))
		}
	}
	return all
}
