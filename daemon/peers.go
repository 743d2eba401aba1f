package daemon

import (
	"context"
	"errors"
	"fmt"

	"netwatch"
)

// A teller hands events on to other machines.
type teller interface {
	netwatch.Source
	Tell(ctx context.Context, events []netwatch.Event) error
}

// handOn hands events on by the named source, or by all that can when name is empty.
func (ws *watchers) handOn(ctx context.Context, name string, events []netwatch.Event) netwatch.Result {
	var all error
	told := 0
	for _, s := range *ws.live.Load() {
		t, can := s.(teller)
		if !can || name != "" && name != s.String() {
			continue
		}
		told++
		if err := t.Tell(ctx, events); err != nil {
			all = errors.Join(all, fmt.Errorf("telling other machines: %w", err))
		}
	}
	switch {
	case all != nil:
		return netwatch.Failure(all)
	case told == 0:
		return netwatch.Failure(errors.New("telling other machines: there is no source for it"))
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: "the broker has it"}
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

// check tries the connections to other machines.
func (ws *watchers) check(ctx context.Context) (all error) {
	for _, s := range *ws.live.Load() {
		if c, ok := s.(interface {
			Check(ctx context.Context) error
		}); ok {
			all = errors.Join(all, c.Check(ctx))
		}
	}
	return all
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
