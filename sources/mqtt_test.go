package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"netwatch"
)

// What is wrong with a broker, a name, a password and a topic is said, and never a
// password.
func TestMQTTValues(t *testing.T) {
	for text, want := range map[string]string{
		"mqtts://b.example":          "mqtts://b.example:8883",
		"mqtts://B.example.:1":       "mqtts://b.example:1",
		"mqtt://127.0.0.1":           "mqtt://127.0.0.1:1883",
		"mqtts://[2001:db8::1]":      "mqtts://[2001:db8::1]:8883",
		"mqtts://u:secret@b.example": "",
		"wss://b.example":            "", "b.example": "", "mqtts://b/x": "", "mqtts://": "", "mqtts://b:0": "",
	} {
		var b Broker
		if err := b.UnmarshalText([]byte(text)); string(b) != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", text, b, err)
		} else if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells a secret", err)
		}
	}
	var n PeerName
	for text, right := range map[string]bool{
		"turn1": true, "a.b-c": true, "": false, "A": false, "a/b": false, "+": false, strings.Repeat("a", 64): false,
	} {
		if err := n.UnmarshalText([]byte(text)); (err == nil) != right {
			t.Errorf("name %q: %v", text, err)
		}
	}
	var p PasswordFile
	if err := p.UnmarshalText([]byte("secret")); err == nil || strings.Contains(err.Error()+netwatch.Hint(err), "secret") {
		t.Errorf("a password itself: %v", err)
	}
	if err := p.UnmarshalText([]byte("@/p")); err != nil || p != "/p" {
		t.Errorf("a file is %q, %v", p, err)
	}
	var topic Topic
	for text, right := range map[string]bool{
		"netwatch": true, "a/b": true, "": false, "a/": false, "#": false, "a/+": false,
	} {
		if err := topic.UnmarshalText([]byte(text)); (err == nil) != right {
			t.Errorf("topic %q: %v", text, err)
		}
	}
}

// Without TLS a broker may be where strangers do not read along, or where the
// administrator says that they may.
func TestMQTTMistakes(t *testing.T) {
	keys := func(m *MQTT) (all []string) {
		for _, mistake := range m.Check() {
			all = append(all, mistake.Key)
		}
		return all
	}
	for _, c := range []struct {
		broker Broker
		plain  bool
		ca     CAFile
		want   string
	}{
		{"", false, "", "[broker]"},
		{"mqtts://b.example:8883", false, "/ca", "[]"},
		{"mqtt://b.example:1883", false, "", "[broker]"},
		{"mqtt://b.example:1883", true, "", "[]"},
		{"mqtt://203.0.113.5:1883", false, "", "[broker]"},
		{"mqtt://localhost:1883", false, "", "[]"},
		{"mqtt://[::1]:1883", false, "", "[]"},
		{"mqtt://192.168.1.2:1883", false, "/ca", "[ca]"},
		{"mqtt://100.64.0.1:1883", false, "", "[broker]"},
	} {
		m := &MQTT{Broker: c.broker, Host: "a", Password: "/p", Plain: c.plain, CA: c.ca}
		if got := fmt.Sprint(keys(m)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := fmt.Sprint(keys(&MQTT{User: "a\n"})); got != "[broker host password user]" {
		t.Errorf("what is missing: %s", got)
	}
}

// A machine is known by one level of the topic, right before the last.
func TestMQTTTopics(t *testing.T) {
	for topic, want := range map[string]string{
		"t/u/a.b/state": "a.b", "t/u/state": "", "t/u/a/b/state": "", "t/u/A/state": "", "x/u/a/state": "", "t/u/a/ask": "",
	} {
		if got := Topic("t/u").host(topic); got != want {
			t.Errorf("%s is of %q", topic, got)
		}
	}
}

// What a stranger sends is taken within bounds or not at all.
func TestBulletinOfStrangers(t *testing.T) {
	for _, text := range []string{
		"", "x", "[]", "7", `{"number":1}`, `{"number":0,"connect":0}`, `{"number":-1,"connect":-1}`,
		`{"number":9007199254740993,"connect":1}`, `{"number":1e400,"connect":1}`, `{"number":1,"connect":2}`,
		`{"number":1,"connect":1,"addresses":{"ipv4":{"address":"x"}}}`, `{"number":1,"connect":1,"told":7}`,
		`{"number":1,"connect":1,"addresses":{"x":{"address":"::1"}}}`,
		`{"number":1,"connect":1,"told":[` + strings.Repeat(`{},`, 16) + `{}]}`,
		`{"number":1,"connect":1,"version":"` + strings.Repeat("x", maxBulletin) + `"}`,
	} {
		if b, err := parseBulletin([]byte(text)); err == nil {
			t.Errorf("%.60s is taken for %+v", text, b)
		}
	}
	b, err := parseBulletin([]byte(`{"number":5,"connect":4,"x":1,"version":"\u001b[31m` + strings.Repeat("é", 300) + `",
		"addresses":{"ipv4":{"address":"203.0.113.7","by":["s\n"]},"ipv6":{"address":"203.0.113.8"}},
		"told":[{"number":5,"event":"x"},{"number":6,"event":"y"},{"number":1,"event":"Z z"},
			{"number":2,"event":"w","new":"\u0000"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Version) > 256 || !strings.HasPrefix(b.Version, `\u001b[31mé`) {
		t.Errorf("the version is %q", b.Version)
	}
	if got := fmt.Sprint(len(b.Addresses), b.Addresses[netwatch.IPv4].Address, b.Addresses[netwatch.IPv4].By); got !=
		`1 203.0.113.7 [s\u000a]` {
		t.Errorf("the addresses are %s", got)
	}
	if len(b.Told) != 2 || b.Told[1].New != `\u0000` {
		t.Errorf("%+v is handed on", b.Told)
	}
}

// A machine hands on the newest event of each name, whenever it heard of it, and never more
// than others take; of texts that need no more room, as many as of short ones.
func TestBulletinHands(t *testing.T) {
	for text, most := range map[string]int{`"`: 16, strings.Repeat(`"`, 256): 14, strings.Repeat("<", 256): 16} {
		b := bulletin{Number: 100, Connect: 1}.hand(handed{Number: 50, Event: "newest"})
		for i := range 40 {
			h := handed{Number: int64(i + 1), Event: fmt.Sprintf("e%d", i%20), New: text}
			b = b.hand(h)
		}
		if n := len(b.Told); n != most || b.Told[n-2].Number != 40 || b.Told[n-1].Event != "newest" {
			t.Errorf("%d are handed on, the last is %+v", n, b.Told[n-1])
		}
		if _, err := parseBulletin(b.text()); err != nil {
			t.Errorf("others would not take it: %v", err)
		}
	}
}

// A packet that is larger than we take ends the connection before anything makes room
// for it; all others pass, however they are cut.
func TestBoundedConnection(t *testing.T) {
	whole := append([]byte{0x30, 0x80 | 10, 1}, make([]byte, 138)...) // 138 is 10 and once 128
	for _, c := range []struct {
		sent []byte
		err  error
	}{
		{append(append([]byte{0xd0, 0}, whole...), 0xd0, 0), io.EOF},
		{[]byte{0x30, 0xff, 0xff, 0x7f}, errLargePacket},
		{append(slices.Clone(whole), 0x30, 0xff, 0xff, 0x7f), errLargePacket},
		{[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0xff}, errLargePacket},
	} {
		here, there := net.Pipe()
		go func() {
			for _, b := range c.sent {
				_, _ = there.Write([]byte{b}) // It may have been closed
			}
			_ = there.Close()
		}()
		got, err := io.ReadAll(&bounded{Conn: here})
		if err == nil {
			err = io.EOF
		}
		if !errors.Is(err, c.err) || errors.Is(c.err, io.EOF) && len(got) != len(c.sent) {
			t.Errorf("of %d bytes %d pass: %v", len(c.sent), len(got), err)
		}
	}
}

// stands is what a machine says at a number, over the connection that began with 1.
func stands(number int64, change func(*bulletin)) bulletin {
	b := bulletin{Number: number, Connect: 1, Addresses: netwatch.Addresses{}}
	if change != nil {
		change(&b)
	}
	return b
}

// Of what a machine says now, the first thing that is new is told, and then that is seen;
// what it does not know is no change.
func TestPeerDifference(t *testing.T) {
	at := func(text string) func(*bulletin) {
		return func(b *bulletin) {
			a := netip.MustParseAddr(text)
			b.Addresses[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
		}
	}
	route := handed{Number: 3, Event: netwatch.RouteChanged, New: "tun0"}
	moved := handed{Number: 3, Event: netwatch.IPChanged, Family: "ipv4", Old: "203.0.113.7", New: "203.0.113.8"}
	gone, told := func(b *bulletin) { b.Lost = true }, func(b *bulletin) { *b = b.hand(route) }
	for _, c := range []struct {
		name      string
		seen, now bulletin
		want      []string
	}{
		{"the same", stands(1, at("203.0.113.7")), stands(2, at("203.0.113.7")), nil},
		{"unknown for a while", stands(1, at("203.0.113.7")), stands(2, nil), nil},
		{"moved", stands(1, at("203.0.113.7")), stands(2, at("203.0.113.8")), []string{"ip-changed 203.0.113.7 203.0.113.8"}},
		{"first", stands(1, nil), stands(2, at("2001:db8::1")), []string{"ip-changed  2001:db8::1"}},
		{"told", stands(1, nil), stands(3, told), []string{"route-changed  tun0"}},
		{"told before", stands(3, told), stands(4, told), nil},
		{
			"moved and told that", stands(1, at("203.0.113.7")),
			stands(3, func(b *bulletin) { at("203.0.113.8")(b); *b = b.hand(moved) }),
			[]string{"ip-changed 203.0.113.7 203.0.113.8"},
		},
		{"gone", stands(1, nil), stands(1, gone), []string{"peer-lost"}},
		{"still gone", stands(1, gone), stands(2, gone), nil},
		{"back and moved", stands(1, gone), stands(2, at("203.0.113.8")), []string{"peer-back", "ip-changed  203.0.113.8"}},
	} {
		var got []string
		for seen := c.seen; len(got) < 5; {
			name, f, after := difference(seen, c.now)
			if name == "" {
				break
			}
			if name == netwatch.PeerChanged {
				name = f["told"] + " " + f["old"] + " " + f["new"]
			}
			got, seen = append(got, name), after
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: wanted (-) and told (+):\n%s", c.name, diff)
		}
	}
}

// What is older than what was heard, or as old, is not heard, but once over each connection of
// ours; and a last will counts for its own connection alone.
func TestPeerHears(t *testing.T) {
	one := &peer{}
	will := func(connect int64) bulletin { return bulletin{Number: connect, Connect: connect, Lost: true} }
	moved := func(b *bulletin) {
		b.Connect, b.Addresses[netwatch.IPv4] = 10, netwatch.Address{Address: netip.MustParseAddr("203.0.113.7")}
	}
	for _, c := range []struct {
		said  bulletin
		heard bool
	}{
		{stands(12, moved), true},
		{stands(11, moved), false},
		{stands(12, nil), false},
		{will(9), false}, // Of a connection that another has taken the place of
		{will(10), true},
		{stands(13, moved), true},
		{will(20), true}, // What it said since was never heard
	} {
		if got := one.hear(c.said); got != c.heard {
			t.Errorf("%+v is heard: %v", c.said, got)
		}
	}
	if !one.now.Lost || !one.now.Addresses[netwatch.IPv4].Address.IsValid() || one.now.Number != 20 {
		t.Errorf("in the end it is %+v", one.now)
	}
	one = &peer{now: stands(12, moved)}
	if !one.hear(stands(12, moved)) || one.hear(stands(12, moved)) {
		t.Error("what it said before we were connected is not heard once")
	}
}

// A listener hears machines without a broker, and keeps what the dispatcher would.
type listener struct {
	*mqtt
	began time.Time

	lock  sync.Mutex // guards what follows
	state map[string]string
	told  []string
	// refuses has the next event refused.
	refuses bool
}

// newListener starts one, which ends with the test.
func newListener(t *testing.T, state map[string]string) *listener {
	t.Helper()
	l := &listener{state: state, began: time.Now()}
	env := Env{
		Seen: func(event, of string) string {
			l.lock.Lock()
			defer l.lock.Unlock()
			return l.state[event+" "+of]
		},
		See: func(event, of, value string) error {
			l.lock.Lock()
			defer l.lock.Unlock()
			l.state[event+" "+of] = value
			return nil
		},
		Sights: func(event string) map[string]string {
			l.lock.Lock()
			defer l.lock.Unlock()
			all := map[string]string{}
			for key, value := range l.state {
				if of, is := strings.CutPrefix(key, event+" "); is {
					all[of] = value
				}
			}
			return all
		},
		Known: func() netwatch.Addresses { return netwatch.Addresses{} }, Log: zerolog.Nop(),
	}
	m := &MQTT{Broker: "mqtt://127.0.0.1:1", Host: "self", Topic: "netwatch"}
	l.mqtt = m.Source("mqtt", env).(*mqtt)
	return l
}

func (l *listener) emit(ev netwatch.Event) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.refuses {
		l.refuses = false
		return errors.New("refused")
	}
	l.state[ev.Sight.Event+" "+ev.Sight.Of] = ev.Sight.Value
	if ev.Heard.Err() == nil {
		return errors.New("its window goes on although all is heard")
	}
	l.told = append(l.told, fmt.Sprint(time.Since(l.began).Round(time.Second), " ", ev.Name, " ", ev.Fields["peer"], " ",
		ev.Fields["told"], " ", ev.Fields["new"]))
	return nil
}

// hears delivers what a machine says, and waits.
func (l *listener) hears(host string, b bulletin, wait time.Duration) {
	l.peers.deliver(host, b.text())
	<-time.After(wait) // By the clock of the bubble
}

// run hears for a while.
func (l *listener) run(t *testing.T, during func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.peers.run(ctx, l.emit)
	}()
	during()
	cancel()
	<-done
}

// Of each machine is told at most once in two seconds, and in the end all: the first time
// that it is seen is nothing, and neither is one that is gone for a moment. What is
// refused is told again.
func TestPeersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		moved := func(to string) func(*bulletin) {
			return func(b *bulletin) {
				b.Addresses[netwatch.IPv4] = netwatch.Address{Address: netip.MustParseAddr(to)}
			}
		}
		gone := bulletin{Number: 1, Connect: 1, Lost: true}
		l.run(t, func() {
			l.hears("a", stands(1, moved("203.0.113.1")), time.Second)
			for n := range int64(50) {
				l.hears("a", stands(2+n, moved(fmt.Sprintf("203.0.113.%d", 2+n))), 20*time.Millisecond)
			}
			l.hears("b", stands(1, nil), 3*time.Second)
			l.hears("a", gone, 4*time.Second)
			l.hears("a", stands(60, moved("203.0.113.51")), 5*time.Second)
			l.refuses = true
			l.hears("a", gone, 20*time.Second)
			l.hears("a", stands(61, moved("203.0.113.51")), 10*time.Second)
		})
		want := []string{
			"1s peer-changed a ip-changed 203.0.113.2", "3s peer-changed a ip-changed 203.0.113.51", "24s peer-lost a  ",
			"34s peer-back a  ",
		}
		if diff := cmp.Diff(want, l.told); diff != "" {
			t.Errorf("wanted (-) and told (+):\n%s", diff)
		}
	})
}

// What a machine did while netwatch was stopped is told after the start, and what it had
// told before is not; and it is known, though not how it stands, before it says anything.
func TestPeersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := map[string]string{}
		told := func(n int64) func(*bulletin) {
			return func(b *bulletin) { *b = b.hand(handed{Number: n, Event: netwatch.RouteChanged, New: "way"}) }
		}
		first := newListener(t, state)
		first.run(t, func() {
			first.hears("a", stands(1, nil), time.Second)
			first.hears("a", stands(2, told(2)), time.Second)
		})
		second := newListener(t, state)
		second.run(t, func() {
			time.Sleep(time.Second)
			if all := second.Peers(); len(all) != 1 || all[0].Peer != "a" || all[0].State != netwatch.PeerUnknown {
				t.Errorf("before anything is heard: %+v", all)
			}
			second.hears("a", stands(3, told(2)), 5*time.Second)
			second.hears("a", stands(4, told(4)), time.Second)
			second.peers.deliver("a", nil) // Somebody took it from the broker
			time.Sleep(time.Second)
		})
		want := []string{"1s peer-changed a route-changed way", "6s peer-changed a route-changed way"}
		if diff := cmp.Diff(want, slices.Concat(first.told, second.told)); diff != "" {
			t.Errorf("wanted (-) and told (+):\n%s", diff)
		}
		if all := second.Peers(); len(all) != 0 || state["peer-changed mqtt a"] != "" {
			t.Errorf("what was taken from the broker stays: %+v, %v", all, state)
		}
	})
}

// What came over a connection that is lost says nothing of how others stand now: the
// broker may have sent their last wills because it is being stopped itself.
func TestPeersAfterTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		l.run(t, func() {
			l.hears("a", stands(1, nil), time.Second)
			l.peers.deliver("a", bulletin{Number: 1, Connect: 1, Lost: true}.text())
			l.peers.unhear()
			time.Sleep(time.Minute)
		})
		if all := l.Peers(); len(l.told) > 0 || all[0].State != netwatch.PeerUnknown {
			t.Errorf("%v; %+v", l.told, all)
		}
	})
}

// However much comes, it is read no faster than that, memory is bounded, and when it is
// over everything is asked for once more.
func TestPeersInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		l.run(t, func() {
			for n := range int64(floodBurst + 2*floodRate) {
				l.peers.deliver(fmt.Sprintf("h%d", n%(2*maxPeers)), stands(n+1, nil).text())
			}
			if spent := time.Since(l.began); spent < 1900*time.Millisecond {
				t.Errorf("the flood was read within %s", spent)
			}
			time.Sleep(5 * time.Second)
			select {
			case <-l.up:
			default:
				t.Error("what the broker may have left out is not asked for")
			}
		})
		if n := len(l.Peers()); n != maxPeers {
			t.Errorf("%d machines are kept", n)
		}
	})
}

// The numbers of what we say only grow: over a restart, over a clock that is set back, and
// when the state is lost and the broker still has what we said.
func TestMQTTNumbersGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, last := map[string]string{}, int64(0)
		grows := func(l *listener) {
			t.Helper()
			for range 3 {
				will, err := l.begin()
				if err != nil {
					t.Fatal(err)
				}
				b, err := parseBulletin(will)
				if ms := time.Now().UnixMilli(); last < ms && b.Number != ms {
					t.Errorf("the number is %d at %d", b.Number, ms)
				}
				if err != nil || b.Number <= last || b.Connect != b.Number || !b.Lost {
					t.Errorf("after %d: %+v, %v", last, b, err)
				}
				last = b.Number
				l.dialled(&net.TCPConn{})
			}
		}
		first := newListener(t, state)
		first.recall()
		grows(first)
		last += 1000 * 3600 * 1000 // The clock was so far ahead when this was said
		first.mqtt.echo(bulletin{Number: last, Connect: last})
		grows(first)
		second := newListener(t, state)
		second.recall()
		grows(second)
		lost := newListener(t, map[string]string{})
		lost.recall()
		lost.mqtt.echo(bulletin{Number: last, Connect: last})
		grows(lost)
		select {
		case <-lost.changed:
		default:
			t.Error("what the broker has of us stays, although it is not what we are")
		}
	})
}
