package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/lab"
	"netwatch/sources"
)

// A crowd is many machines in one process: each is a real [source.mqtt], with a state that
// no disk has.
type crowd struct {
	all    []*member
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex // guards what follows
	// moved are when machines changed last, and seen how long after it the others saw it.
	moved map[string]time.Time
	seen  lab.Times
}

// A member is one of them.
type member struct {
	crowd  *crowd
	name   string
	source netwatch.Source

	mu      sync.Mutex // guards what follows
	address netip.Addr
	state   map[string]string
}

// joinEvery is the time between two machines that join, of which each sends to all others.
const joinEvery = 10 * time.Millisecond

// gather has n machines connect to a broker.
func gather(ctx context.Context, broker sources.Broker, n int) *crowd {
	ctx, cancel := context.WithCancel(ctx)
	c := &crowd{cancel: cancel, moved: map[string]time.Time{}}
	for i := range n {
		_ = wait(ctx, joinEvery) // Whoever waits for them next says that it is over
		m := &member{crowd: c, name: fmt.Sprintf("m%d", i), address: addressOf(i, 0), state: map[string]string{}}
		settings := &sources.MQTT{Broker: broker, Host: sources.PeerName(m.name), Topic: "netwatch"}
		m.source = settings.Source("mqtt", m.env())
		c.all = append(c.all, m)
		c.done.Go(func() { _ = m.source.Run(ctx, m.emit) }) // It fails only where a daemon has a mistake
	}
	return c
}

// leave has all machines go.
func (c *crowd) leave() {
	c.cancel()
	c.done.Wait()
}

// addressOf is the n-th address of a machine.
func addressOf(machine, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{11, byte(n), byte(machine >> 8), byte(machine)})
}

// env is what a daemon would lend.
func (m *member) env() sources.Env {
	return sources.Env{
		Known: func() netwatch.Addresses {
			m.mu.Lock()
			defer m.mu.Unlock()
			now := time.Now()
			return netwatch.Addresses{netwatch.IPv4: {
				Address: m.address, Since: now, Confirmed: now,
				By: []string{"stun.example.org:3478", "stun.example.net:3478"},
			}}
		},
		Seen: func(_, of string) string {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.state[of]
		},
		See: func(_, of, value string) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.state[of] = value
			return nil
		},
		Sights: func(string) map[string]string {
			m.mu.Lock()
			defer m.mu.Unlock()
			return maps.Clone(m.state)
		},
		Log: zerolog.Nop(), Version: "bench",
	}
}

// emit takes what a machine sees of another.
func (m *member) emit(ev netwatch.Event) error {
	_ = m.env().See(ev.Sight.Event, ev.Sight.Of, ev.Sight.Value) // It is never refused
	m.crowd.mu.Lock()
	defer m.crowd.mu.Unlock()
	if at, is := m.crowd.moved[ev.Fields["peer"]]; is && ev.Name == netwatch.PeerChanged {
		m.crowd.seen = append(m.crowd.seen, time.Since(at))
	}
	return nil
}

// move has a machine have its n-th address, and tell.
func (c *crowd) move(machine, n int) {
	m := c.all[machine]
	m.mu.Lock()
	m.address = addressOf(machine, n)
	m.mu.Unlock()
	c.mu.Lock()
	c.moved[m.name] = time.Now()
	c.mu.Unlock()
	m.source.(interface{ Moved() }).Moved()
}

// saw waits until that many machines saw what changed since it was asked last, and returns
// how long it took each.
func (c *crowd) saw(ctx context.Context, many int) (times lab.Times, err error) {
	err = within(ctx, crowdTime, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.seen) < many {
			return fmt.Errorf("%d times a change was seen, and not %d times", len(c.seen), many)
		}
		times, c.seen = c.seen, nil
		return nil
	})
	return times, err
}

// hears says whether each of the machines hears that many others.
func (c *crowd) hears(many int) error {
	for _, m := range c.all {
		here := 0
		for _, p := range m.source.(interface{ Peers() []netwatch.Peer }).Peers() {
			if p.State == netwatch.PeerHere {
				here++
			}
		}
		if here != many {
			return errors.Join(fmt.Errorf("%s hears %d others of %d", m.name, here, many),
				m.source.(interface{ Trouble() error }).Trouble())
		}
	}
	return nil
}
