package sources

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"netwatch"
)

// Who is to say something while something else is being said waits no longer than whoever
// asked for it.
func TestSayWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := (&MQTT{Broker: "mqtt://b"}).Source("mqtt", Env{}).(*mqtt)
		s.saying <- struct{}{}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.say(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// A mute broker reads all that comes, and answers nothing on connections that were there when
// it fell silent. One that is gone ends a connection on which something comes.
type mute struct {
	silent atomic.Int32
	gone   atomic.Bool
}

// dial connects to it.
func (m *mute) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	before := m.silent.Load()
	go func() { // Ends with the connection
		for {
			p, err := packets.ReadPacket(theirs)
			if err != nil || m.gone.Load() {
				_ = theirs.Close()
				return
			}
			if answer := answerTo(p); answer != nil && m.silent.Load() == before {
				_, _ = answer.WriteTo(theirs)
			}
		}
	}()
	return ours, nil
}

// answerTo is what a broker says that has nothing against anything.
func answerTo(p *packets.ControlPacket) (answer *packets.ControlPacket) {
	switch m := p.Content.(type) {
	case *packets.Pingreq:
		answer = packets.NewControlPacket(packets.PINGRESP)
	case *packets.Connect:
		answer = packets.NewControlPacket(packets.CONNACK)
		answer.Content.(*packets.Connack).Properties.AssignedClientID = m.Username
	case *packets.Publish:
		answer = packets.NewControlPacket(packets.PUBACK)
		answer.Content.(*packets.Puback).PacketID = m.PacketID
	case *packets.Subscribe:
		answer = packets.NewControlPacket(packets.SUBACK)
		*answer.Content.(*packets.Suback) = packets.Suback{
			PacketID: m.PacketID, Reasons: make([]byte, len(m.Subscriptions)), Properties: &packets.Properties{},
		}
	}
	return answer
}

// connected runs a source that has a connection to a broker, and what ends it.
func connected(t *testing.T, dial func(context.Context, string) (net.Conn, error)) (s *mqtt, end func()) {
	t.Helper()
	env := Env{
		Known: func() netwatch.Addresses { return netwatch.Addresses{} }, Seen: func(string, string) string { return "" },
		See: func(string, string, string) error { return nil }, Sights: func(string) map[string]string { return nil },
		Edges: Edges{Broker: dial},
	}
	s = (&MQTT{Broker: "mqtt://b", Host: "self", Topic: "netwatch"}).Source("mqtt", env).(*mqtt)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, func(netwatch.Event) error { return nil }) }()
	<-time.After(time.Second)
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Who has no answer in time says the same over the next connection, and not over the one that
// is being ended.
func TestToldOverTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &mute{}
		s, end := connected(t, b.dial)
		defer end()
		b.silent.Add(1)
		began := time.Now()
		err := s.Tell(t.Context(), []netwatch.Event{netwatch.NewEvent("x", "s", nil)})
		if took := time.Since(began); err != nil || took > brokerTime+lastRetry {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// A broker that goes away in the midst was not waited for, so nobody says of it that it is slow.
func TestHungUpIsUnconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &mute{}
		s, end := connected(t, b.dial)
		defer end()
		b.gone.Store(true)
		if err := s.say(t.Context()); !errors.Is(err, errUnconnected) || s.patience() != brokerTime {
			t.Errorf("it is told so: %v, and given %s then", err, s.patience())
		}
		b.gone.Store(false)
		if err := s.Tell(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}
