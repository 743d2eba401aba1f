package sources

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
)

// A logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBook) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.text.String()), "\n")
}

// A broker that hangs up, whenever it does so, is said to, in few lines, and is tried
// ever more rarely.
func TestMQTTBrokerHangsUp(t *testing.T) {
	for hangs, want := range map[string]string{
		"reset": "connection reset by peer", "CONNECT": "EOF", "SUBSCRIBE": "ends each connection",
		"PUBLISH": "ends each connection",
	} {
		t.Run(hangs, func(t *testing.T) {
			t.Parallel()
			b, log := newFakeBroker(t, &fakeBroker{hangs: hangs, assigns: "self"}), &logBook{}
			s := connectedLogging(t, b, &MQTT{}, zerolog.New(log))
			if err := waitsFor(t, s, want); netwatch.Hint(err) == "" {
				t.Error(err)
			}
			<-time.After(5 * time.Second)
			if lines := log.lines(); len(lines) > 3 {
				t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if n := len(b.clients); n < 4 || n > 16 {
				t.Errorf("%d connections within five seconds", n)
			}
		})
	}
}

// Each reason that a broker may give for taking nobody (MQTT 5, 3.2.2.2) is said in words
// and with a remedy. A fake gives them: mosquitto knows few.
func TestMQTTRefusesEveryWay(t *testing.T) {
	for reason, want := range map[byte]string{
		0x80: "error", 0x81: "not understand", 0x82: "not understand", 0x83: "not take", 0x84: "not speak MQTT 5",
		0x85: "the name self", 0x86: "wrong user or password", 0x87: "not permitted", 0x88: "not available",
		0x89: "busy", 0x8A: "banned", 0x8C: "another way", 0x90: "netwatch/self/state", 0x95: "too large",
		0x97: "quota", 0x99: "not take", 0x9A: "keeps no messages", 0x9B: "QoS 1", 0x9C: "another broker",
		0x9D: "another broker", 0x9F: "too often", 0xC8: "reason 200",
	} {
		s := (&MQTT{Broker: "mqtt://b", Host: "self", Topic: "netwatch"}).Source("mqtt", Env{}).(*mqtt)
		err := s.refused(toConnect, reason)
		if !strings.Contains(err.Error(), "mqtt://b refuses connecting to it: ") || !strings.Contains(err.Error(), want) ||
			netwatch.Hint(err) == "" {
			t.Errorf("%#x: %v; %s", reason, err, netwatch.Hint(err))
		}
	}
	for _, reason := range []byte{0x80, 0x84, 0x86, 0x89, 0x97, 0x9F} {
		b, log := newFakeBroker(t, &fakeBroker{connack: reason}), &logBook{}
		s := connectedLogging(t, b, &MQTT{}, zerolog.New(log))
		if err := waitsFor(t, s, "refuses connecting to it"); netwatch.Hint(err) == "" {
			t.Error(err)
		}
		for range 4 {
			b.next(t, "connect")
		}
		if lines := log.lines(); len(lines) != 1 {
			t.Errorf("%#x: %d lines:\n%s", reason, len(lines), strings.Join(lines, "\n"))
		}
	}
}

// Whether the broker lets us be called as another is known by the name that it gives to
// who has none; if it may, or if it takes nobody without, we are connected by our own.
func TestMQTTNames(t *testing.T) {
	for _, c := range []struct {
		name   string
		broker *fakeBroker
		want   netwatch.Answer
		by     []string
	}{
		{"our own", &fakeBroker{assigns: "self"}, netwatch.Yes, []string{"connect  as"}},
		{"any", &fakeBroker{assigns: "auto-1"}, netwatch.No, []string{"connect  as", "connect self as"}},
		{"none without", &fakeBroker{nameless: 0x85}, netwatch.Unanswered, []string{"connect  as", "connect self as"}},
	} {
		b := newFakeBroker(t, c.broker)
		s := connectedTo(t, b, &MQTT{})
		for _, by := range c.by {
			if said := b.next(t, "connect"); !strings.HasPrefix(said, by) {
				t.Errorf("%s: %s, not %s", c.name, said, by)
			}
		}
		b.next(t, "publish netwatch/self/state")
		s.mu.Lock()
		got := s.names
		s.mu.Unlock()
		if got != c.want || s.Trouble() != nil {
			t.Errorf("%s: each has his own name: %q; %v", c.name, got, s.Trouble())
		}
	}
}

// A broker that lets us hear nothing takes all that is said, and says nothing of that: what
// we say ourselves does not come back. When it does, all is well.
func TestMQTTDeaf(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, &fakeBroker{assigns: "self"}) // It hands nothing on
	s := connectedTo(t, b, &MQTT{})
	hint := netwatch.Hint(waitsFor(t, s, "does not let us hear"))
	if !strings.Contains(hint, "pattern read netwatch/+/state") {
		t.Error(hint)
	}
	b.next(t, "publish")
	b.next(t, "publish") // It is said anew, since nobody says when that is put right
	s.mu.Lock()
	said := s.said
	s.mu.Unlock()
	if s.witness(s.topic(), said); s.Trouble() != nil {
		t.Error(s.Trouble())
	}
}

// Of a broker that fails in another way each time, and works in between, there is a line a
// minute that it fails, and one that it works.
func TestMQTTComplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBook{}
		s := (&MQTT{Broker: "mqtt://b"}).Source("mqtt", Env{Log: zerolog.New(log)}).(*mqtt)
		for n := range 600 {
			s.trouble(&s.reaching, fmt.Errorf("failure %d", n))
			if n%10 == 5 {
				s.trouble(&s.reaching, nil)
			}
			time.Sleep(time.Second)
		}
		if lines := log.lines(); len(lines) != 20 || !strings.Contains(lines[0], "failure 0") {
			t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
	})
}
