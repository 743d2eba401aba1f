package sources

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
)

// A machine that says, asks and answers what is not understood, in other words each time and
// with right ones in between, has a line of each in the log a minute, and no more.
func TestNonsenseInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := newListener(t, map[string]string{}), &logBook{}
		l.env.Log, l.settings.Serve = zerolog.New(log), []PeerName{"a"}
		l.env.Outside = func(context.Context, netwatch.Place) (netwatch.Seen, error) { return netwatch.Seen{}, nil }
		l.asking.last["a"] = time.Now() // Who was never asked is not heard
		l.run(t, func() {
			for n := range int64(1000) {
				l.peers.deliver("a", fmt.Appendf(nil, `{"number":"%d"}`, n))
				l.asking.deliver("a", fmt.Appendf(nil, `{"x%d":1}`, n))
				l.serving.deliver("a", fmt.Appendf(nil, `{"x%d":1}`, n))
				l.serving.take(t.Context(), "a", fmt.Appendf(nil, `{"x%d":1}`, n))()
				<-time.After(50 * time.Millisecond)
				l.hears("a", stands(n+1, nil), 50*time.Millisecond)
			}
		})
		lines := strings.Join(log.lines(), "\n")
		for _, what := range []string{"what another machine says", "an answer of another", "asked to be looked at"} {
			if n := strings.Count(lines, what); n != 2 {
				t.Errorf("%d times within 100 s: %s\n%s", n, what, lines[:min(len(lines), 2000)])
			}
		}
	})
}

// Who has the broker forget a machine and know it again without end has the state written
// once in two seconds.
func TestForgottenWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		written, see := 0, l.peers.env.See
		l.peers.env.See = func(event, of, value string) error {
			written++
			return see(event, of, value)
		}
		l.run(t, func() {
			for n := range int64(200) {
				l.hears("a", stands(n+1, nil), 150*time.Millisecond)
				l.peers.deliver("a", nil)
				<-time.After(150 * time.Millisecond)
			}
		})
		if written > 60 {
			t.Errorf("written %d times within %s", written, time.Since(l.began))
		}
	})
}

// What is taken of a stranger is one that the state can have, and that is taken from it again.
func TestBulletinOfStrangersIsKept(t *testing.T) {
	for _, at := range []string{"9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59"} {
		for _, c := range []string{"x", "<", "\xff\xad", "\u00ad", `\"`, `\u0001`} {
			var told []string
			for i := range maxHanded {
				some := strings.Repeat(c, 240/len(c))
				told = append(told, fmt.Sprintf(`{"number":1,"event":"e%d","time":%q,"new":"%s","old":"%[3]s","family":"%[3]s"}`,
					i, at, some))
			}
			text := fmt.Sprintf(`{"number":1,"connect":1,"gone":%q,"addresses":{"ipv4":{"address":"203.0.113.7","since":%[1]q,
				"confirmed":%[1]q}},"told":[%s]}`, at, strings.Join(told, ","))
			text = text[:len(text)-1] + `,"version":"` + strings.Repeat("\u00ad", 100) + `"}`
			b, err := parseBulletin([]byte(text))
			if err != nil || len(b.Told) == 0 {
				t.Fatalf("%d bytes: %v", len(text), err)
			}
			if _, err := parseBulletin(b.text()); err != nil {
				t.Errorf("%q: of %d bytes %d are made: %v", c, len(text), len(b.text()), err)
			}
		}
	}
}

// A broker that says in our name what we have not said, again and again, has us say what we
// are, and write the state for it, once in two seconds; and no number of it is one that others
// do not take of us.
func TestForgedInOurName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		said := 0
		for n := range int64(60_000) {
			l.peers.deliver("self", bulletin{Number: 1, Connect: 1, Lost: true}.text())
			if n%1000 == 0 {
				l.peers.deliver("self", bulletin{Number: maxNumber, Connect: 1}.text())
			}
			<-time.After(time.Millisecond)
			select {
			case <-l.changed:
				said++
			default:
			}
		}
		l.mu.Lock()
		now := l.next()
		l.mu.Unlock()
		if _, err := parseBulletin(now.text()); err != nil || said < 29 || said > 31 {
			t.Errorf("it is said %d times, and then as %d: %v", said, now.Number, err)
		}
	})
}

// A machine whose address of IPv6 stands alone, as DHCPv6 gives it, is in a network with
// others all the same.
func TestSegment(t *testing.T) {
	for given, want := range map[string]string{
		"2001:db8:1:2::5/128": "2001:db8:1:2::/64", "2001:db8:1:2::5/56": "2001:db8:1::/56",
		"203.0.113.7/32": "203.0.113.7/32", "192.168.1.2/24": "192.168.1.0/24",
	} {
		if got := segment(netip.MustParsePrefix(given)); got.String() != want {
			t.Errorf("%s is in %s", given, got)
		}
	}
}

// A broker that is there, and has us hang up again and again because it does not answer, does
// not end the connections: what is wrong with it is said.
func TestHungUpByUs(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{assigns: "self"})
	s := connectedTo(t, b, &MQTT{})
	b.next(t, "publish")
	for range manyShort + 1 {
		s.tooSlow(s.request(t.Context()))
		b.next(t, "publish")
	}
	if err := s.Trouble(); err != nil && strings.Contains(err.Error(), "ends each") {
		t.Error(err)
	}
}

// When a source ends, nobody waits for its last connection any more, and no timer of it is left.
func TestMQTTEnds(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{assigns: "self"})
	var s *mqtt
	t.Run("run", func(t *testing.T) {
		s = connectedTo(t, b, &MQTT{})
		b.next(t, "publish")
	})
	if s.lives.Err() == nil {
		t.Error("who waits for an answer goes on waiting")
	}
	if s.lasts != nil && s.lasts.Stop() || s.look.Stop() {
		t.Error("a timer is left")
	}
}

// A broker that lets us hear what all are, and not what others ask, is said to keep that from
// us, also when what we say ourselves has come back.
func TestNotLetHearAsks(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{assigns: "self", suback: 0x80})
	s := connectedTo(t, b, &MQTT{Serve: []PeerName{"a"}})
	_ = waitsFor(t, s, "to let us read netwatch/+/ask/self")
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	said := s.said
	s.mu.Unlock()
	s.witness(s.topic(), said)
	s.peers.mu.Lock()
	s.peers.by["a"] = &peer{known: true}
	s.peers.mu.Unlock()
	s.peers.forget("a")
	_ = waitsFor(t, s, "to let us read netwatch/+/ask/self")
}
