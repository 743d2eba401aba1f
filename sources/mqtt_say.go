package sources

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// recall takes what we said last from the state.
func (s *mqtt) recall() {
	last, err := parseBulletin([]byte(s.env.Seen(netwatch.PeerChanged, s.key(string(s.settings.Host)))))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && last.Number > s.own.Number {
		s.own = last
	}
	s.forgot = s.own.Number == 0
}

// key is what a machine is called in the state.
func (s *mqtt) key(host string) string { return netwatch.Peered(s.name, host) }

// next is a bulletin of now. Its number is larger than all before, also after a restart, and
// where the clock was set back.
func (s *mqtt) next() bulletin {
	s.own.Number = max(s.own.Number+1, time.Now().UnixMilli())
	s.own.Connect, s.own.Version = cmp.Or(s.own.Connect, s.own.Number), s.env.Version
	return s.own
}

// begin is the last will of the connection that begins. The number of one that did not come
// about is the next one's, so that nothing is written for each try.
func (s *mqtt) begin() ([]byte, error) {
	s.mu.Lock()
	kept := s.reserved
	if !kept {
		s.own.Connect = s.next().Number
	}
	w := s.own
	s.reserved = true
	s.mu.Unlock()
	will := bulletin{Number: w.Connect, Connect: w.Connect, Lost: true, Version: w.Version}.text()
	if kept {
		return will, nil
	}
	return will, s.keep(w)
}

// keep has what we are about to say in the state: after a crash no number comes twice,
// and what was handed on is said again.
func (s *mqtt) keep(w bulletin) error {
	w.Addresses, w.Serves = nil, nil // They are in the state already, or in the configuration
	return s.env.See(netwatch.PeerChanged, s.key(string(s.settings.Host)), string(w.text()))
}

// say says what we are. It returns nil when the broker has it.
func (s *mqtt) say(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer func() { <-s.saying }()
	s.mu.Lock()
	w, manager := s.next(), s.manager
	s.mu.Unlock()
	if err := s.keep(w); err != nil {
		return err
	}
	if manager == nil {
		return errStopped
	}
	w.Addresses = s.env.Known()
	for family, a := range w.Addresses {
		w.Addresses[family] = published(a)
	}
	for _, name := range s.settings.Serve {
		w.Serves = append(w.Serves, string(name))
	}
	text := w.text()
	s.sayNow(text)
	return s.publish(ctx, manager, &paho.Publish{QoS: 1, Retain: true, Topic: s.topic(), Payload: text})
}

// turn waits until nobody else says something. It fails only where it has to wait.
func (s *mqtt) turn(ctx context.Context) error {
	select {
	case s.saying <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.saying <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for what is being said to %s: %w", s.settings.Broker, context.Cause(ctx))
	}
}

// publish sends a message, and waits until the broker has it. A broker that does not answer
// is connected to anew: the way to it may be another by now.
func (s *mqtt) publish(ctx context.Context, to *autopaho.ConnectionManager, m *paho.Publish) error {
	r := s.request(ctx)
	defer r.end()
	answer, err := to.Publish(r, m)
	switch {
	case err == nil:
		s.answered(r)
		return nil
	case answer != nil && answer.ReasonCode >= 0x80:
		return s.refused("to take "+m.Topic, answer.ReasonCode)
	case errors.Is(err, paho.ErrInvalidArguments):
		return netwatch.WithHint(fmt.Errorf("the broker %s keeps no messages: %w", s.settings.Broker, err),
			"have it allow retained messages and QoS 1, as mosquitto does by itself")
	case errors.Is(err, autopaho.ConnectionDownError), r.lost.Err() != nil:
		return s.unconnected()
	case ctx.Err() != nil: // Who waits has not the time
		return fmt.Errorf("waiting for the broker %s: %w", s.settings.Broker, ctx.Err())
	}
	s.tooSlow(r)
	err = fmt.Errorf("the broker %s has not said within %s that it has it", s.settings.Broker,
		time.Since(r.asked).Round(time.Second))
	return netwatch.WithHint(err, "see whether it is reached from here; netwatch connects to it anew by itself")
}

// errUnconnected says that there is no connection now.
var errUnconnected = errors.New("there is no connection now")

// unconnected says that there is no connection, and why if that is known.
func (s *mqtt) unconnected() error {
	err := s.Trouble()
	if err == nil {
		err = netwatch.WithHint(fmt.Errorf("the broker %s is being connected to", s.settings.Broker),
			"netwatch tries by itself, and says it when it is connected")
	}
	return netwatch.WithHint(fmt.Errorf("%w: %w", errUnconnected, err), netwatch.Hint(err))
}

// aside publishes what is for one machine, which the broker does not keep.
func (s *mqtt) aside(ctx context.Context, kind, to string, message any) error {
	s.mu.Lock()
	manager := s.manager
	s.mu.Unlock()
	if manager == nil {
		return errStopped
	}
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("writing to %s: %w", to, err)
	}
	expiry := uint32(passTime)
	return s.publish(ctx, manager, &paho.Publish{
		QoS: 1, Topic: s.settings.Topic.aside(string(s.settings.Host), kind, to), Payload: text,
		Properties: &paho.PublishProperties{MessageExpiry: &expiry},
	})
}

// errStopped says that the source is not run any more, or not yet.
var errStopped = errors.New("it is being stopped")

// subscribe asks for what all machines say, and for what is for us alone.
func (s *mqtt) subscribe(ctx context.Context) error {
	s.mu.Lock()
	manager := s.manager
	s.mu.Unlock()
	r := s.request(ctx)
	defer r.end()
	wanted := s.heard()
	answer, _ := manager.Subscribe(r, &paho.Subscribe{Subscriptions: wanted}) // Its reasons say more than the error
	if answer == nil && r.Err() != nil && ctx.Err() == nil && r.lost.Err() == nil {
		s.tooSlow(r)
	}
	var all error
	for i := 0; answer != nil && i < min(len(answer.Reasons), len(wanted)); i++ {
		if reason := answer.Reasons[i]; reason >= 0x80 {
			all = errors.Join(all, s.refused("to let us read "+wanted[i].Topic, reason))
		}
	}
	return all // Without a connection there is nothing to hear, and that is said elsewhere
}

// heard are the topics that we hear: what all are, of which the broker sends what each said
// last; what they answer us; and, if we serve any, what they ask. Of what all are it is not to
// keep what it sends until we have it: of that it keeps so much and leaves out the rest, and
// we ask anew at each connect.
func (s *mqtt) heard() []paho.SubscribeOptions {
	host, topic := string(s.settings.Host), s.settings.Topic
	all := []paho.SubscribeOptions{{Topic: topic.state("+")}, {Topic: topic.aside("+", answers, host), QoS: 1}}
	if len(s.settings.Serve) > 0 {
		all = append(all, paho.SubscribeOptions{Topic: topic.aside("+", asks, host), QoS: 1})
	}
	return all
}

// Tell hands events on to the other machines. It returns nil when the broker has them;
// if not, they are said all the same as soon as there is a connection.
func (s *mqtt) Tell(ctx context.Context, events []netwatch.Event) error {
	s.hand(events)
	s.leave()
	err := s.sayConnected(ctx)
	if err != nil && ctx.Err() == nil { // The connection can have been a dead one
		err = s.sayConnected(ctx)
	}
	return err
}

// leave ends a connection from an address that this machine has no more: nothing comes back
// over it, and what is to be told is most often just that.
func (s *mqtt) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	from, err := netip.ParseAddrPort(s.conn.LocalAddr().String())
	if err == nil && !slices.Contains(s.env.network().Here(), from.Addr().Unmap().WithZone("")) {
		if s.lasts != nil {
			s.lasts.Stop()
			s.lasts = nil // However short it was, the next is worth making at once
		}
		s.explained = true
		_ = s.conn.Close()
	}
}

// sayConnected says what we are as soon as there is a connection, if that is soon.
func (s *mqtt) sayConnected(ctx context.Context) error {
	s.mu.Lock()
	manager := s.manager
	s.mu.Unlock()
	if manager != nil {
		waiting, cancel := context.WithTimeout(ctx, awaitTime)
		defer cancel()
		_ = manager.AwaitConnection(waiting) // What is to be said of that, say says
	}
	return s.say(ctx)
}

// hand puts events into what we say, each once.
func (s *mqtt) hand(events []netwatch.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range events {
		if s.own.told(ev.Name).ID == ev.ID {
			continue
		}
		number := s.next().Number
		s.own = s.own.hand(handed{
			Number: number, ID: clipped(ev.ID), Event: ev.Name, Time: ev.Time,
			Family: clipped(ev.Fields["family"]), Old: clipped(ev.Fields["old"]), New: clipped(ev.Fields["new"]),
		})
	}
}

// echo hears what the broker has of us. If it has something newer than what we said, as
// after a state was lost, we say something newer still, and so is what we handed on: others
// compare that too. If it has our last will of an earlier connection, we are here.
func (s *mqtt) echo(w bulletin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Number <= s.own.Number && !w.Lost || w.Number > maxNumber/2 { // Beyond that nobody would take ours
		return
	}
	if w.Number > s.own.Number {
		s.own.Number, s.own.Told = w.Number, slices.Clone(s.own.Told)
		for i := range s.own.Told {
			s.own.Told[i].Number = s.next().Number
		}
	}
	s.sayAgain()
}

// sayAgain has said what we are, once in peerPause however often it is called: what has us
// say it can come without end, and each time the state is written.
func (s *mqtt) sayAgain() {
	wait := peerPause - time.Since(s.again)
	switch {
	case wait > peerPause: // It will be said
	case wait > 0:
		s.again = time.Now().Add(wait)
		time.AfterFunc(wait, func() { wake(s.changed) })
	default:
		s.again = time.Now()
		wake(s.changed)
	}
}
