package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// A fleet is machines that hear each other without a broker, in one bubble.
type fleet struct {
	t   *testing.T
	all map[string]*member
}

// A member is one of them.
type member struct {
	*listener
	address netip.Addr
	since   time.Time
	// sees is what it sees of each way, and slow for how long it looks.
	sees netwatch.Word
	slow time.Duration
	// cannot is why it cannot look.
	cannot error
	// deaf has it never get what is for it alone.
	deaf bool

	mu     sync.Mutex
	looked []netwatch.Place
	got    []string // what others passed it
}

func (m *member) looks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.looked)
}

// newFleet makes machines at addresses that they have had for an hour; each serves all.
func newFleet(t *testing.T, addresses map[string]string) *fleet {
	t.Helper()
	f := &fleet{t, map[string]*member{}}
	for host, address := range addresses {
		m := &member{
			listener: newListener(t, map[string]string{}), address: netip.MustParseAddr(address),
			since: time.Now().Add(-time.Hour), sees: netwatch.WordOK,
		}
		f.all[host] = m
		m.settings.Host, m.settings.Serve, m.env.Outside = PeerName(host), nil, m.look
		for other := range addresses {
			if other != host {
				m.settings.Serve = append(m.settings.Serve, PeerName(other))
			}
		}
		m.env.Known = func() netwatch.Addresses {
			return netwatch.Addresses{netwatch.FamilyOf(m.address): {Address: m.address, Since: m.since}}
		}
		m.serving.networks = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")} }
		m.pass = func(_ context.Context, kind, to string, message any) error {
			f.pass(host, kind, to, message)
			return nil
		}
	}
	return f
}

// look is what a member does for others.
func (m *member) look(ctx context.Context, p netwatch.Place) (netwatch.Seen, error) {
	m.mu.Lock()
	m.looked = append(m.looked, p)
	m.mu.Unlock()
	select {
	case <-time.After(m.slow):
	case <-ctx.Done():
	}
	return netwatch.Seen{Ways: slices.Repeat([]netwatch.Word{m.sees}, len(p.Ways)), Relay: m.sees}, m.cannot
}

func (f *fleet) pass(from, kind, to string, message any) {
	text, err := json.Marshal(message)
	if err != nil {
		f.t.Error(err)
	}
	m := f.all[to]
	m.mu.Lock()
	m.got = append(m.got, fmt.Sprintf("%s from %s: %s", kind, from, text))
	m.mu.Unlock()
	switch {
	case m.deaf:
	case kind == asks:
		m.serving.deliver(from, text)
	default:
		m.asking.deliver(from, text)
	}
}

// say has all say what they are, as of that long ago.
func (f *fleet) say(ago time.Duration) {
	for host, m := range f.all {
		b := stands(time.Now().UnixMilli(), func(b *bulletin) {
			b.Addresses = m.env.Known()
			for _, name := range m.settings.Serve {
				b.Serves = append(b.Serves, string(name))
			}
		})
		for other, to := range f.all {
			if other != host {
				to.peers.read(host, b.text(), to.peers.connection)
			}
		}
	}
	<-time.After(ago)
}

// run runs all of them while something is done.
func (f *fleet) run(during func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var all sync.WaitGroup
	for _, m := range f.all {
		all.Go(func() { m.serving.run(ctx) })
	}
	during()
	cancel()
	all.Wait()
}

// at is a place with one way for UDP at a port.
func at(address string, port uint16) netwatch.Place {
	return netwatch.Place{
		Address: netip.MustParseAddr(address), Ways: []netwatch.Way{{Over: "udp", Port: port}}, Name: "n", Password: "p",
	}
}

// why is why nobody saw, as it is printed.
func why(s netwatch.Sighting) string {
	if s.Why == nil {
		return fmt.Sprint(s.By, s.Seen)
	}
	return fmt.Sprint(s.Why, "; ", netwatch.Hint(s.Why))
}

// Another machine looks, and one alone where all is right. Who asks again within the minute
// gets the same, and after it another look.
func TestOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1", "b": "198.51.100.2"})
		f.say(standTime)
		turn := f.all["turn"]
		delete(f.all["turn"].peers.by, "b") // It is not here
		f.run(func() {
			for _, want := range []string{"a{[ok] ok}", "a, 31 s ago{[ok] ok}", "a{[ok] ok}"} {
				if got := why(turn.Outside(t.Context(), at("203.0.113.7", 3478))); got != want {
					t.Errorf("%s is seen, and not %s", got, want)
				}
				<-time.After(31 * time.Second)
			}
		})
		if f.all["a"].looks() != 2 || f.all["b"].looks() != 0 {
			t.Errorf("a looked %d times, b %d", f.all["a"].looks(), f.all["b"].looks())
		}
		if note := f.all["a"].Serves(); !strings.Contains(note, "turn was looked at at") {
			t.Error(note)
		}
	})
}

// Whom the broker did not let us ask was not asked, and may be at once.
func TestOutsideIsNotPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1"})
		f.say(standTime)
		turn := f.all["turn"]
		pass := turn.pass
		turn.pass = func(context.Context, string, string, any) error { return errors.New("not permitted") }
		f.run(func() {
			for _, want := range []string{"not permitted; ", "a{[ok] ok}"} {
				if got := why(turn.Outside(t.Context(), at("203.0.113.7", 3478))); got != want {
					t.Errorf("%s, and not %s", got, want)
				}
				turn.pass = pass
			}
		})
	})
}

// One that was asked although the broker did not say so, and says that it is busy, leaves the
// next its time.
func TestOutsideIsPassedUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1", "b": "198.51.100.2"})
		f.say(standTime)
		turn := f.all["turn"]
		pass, times := turn.pass, 0
		turn.pass = func(ctx context.Context, kind, to string, message any) error {
			if times++; times > 1 {
				f.all[to].slow = time.Second
				return pass(ctx, kind, to, message)
			}
			f.all[to].cannot = errors.New("it cannot")
			err := pass(ctx, kind, to, message)
			<-time.After(time.Millisecond)
			return errors.Join(err, errors.New("the broker did not answer"))
		}
		f.run(func() {
			if got := why(turn.Outside(t.Context(), at("203.0.113.7", 3478))); !strings.HasSuffix(got, "{[ok] ok}") {
				t.Errorf("%s is seen", got)
			}
		})
	})
}

// Two who ask the same at the same time have one machine look once.
func TestOutsideTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1"})
		f.say(standTime)
		f.all["a"].slow = time.Second
		f.run(func() {
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if got := why(f.all["turn"].Outside(t.Context(), at("203.0.113.7", 3478))); !strings.HasSuffix(got, "{[ok] ok}") {
						t.Error(got)
					}
				})
			}
			both.Wait()
		})
		if f.all["a"].looks() != 1 {
			t.Errorf("it looked %d times", f.all["a"].looks())
		}
	})
}

// Who does not see all of it right is not believed alone: another looks, and each way
// counts as who saw it better saw it. One that does not answer is waited for two seconds.
func TestOutsideDiffers(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b func(m *member)
		want string
		span time.Duration
	}{
		{"one is right", func(m *member) { m.sees = netwatch.WordSilent }, nil, "{[ok] ok}", 0},
		{
			"none is", func(m *member) { m.sees = netwatch.WordRefused }, func(m *member) { m.sees = netwatch.WordWrong },
			"{[wrong-address] wrong-address}", 0,
		},
		{"one is deaf", func(m *member) { m.deaf = true }, nil, "b{[ok] ok}", nextTime},
		{"one is slow", func(m *member) { m.slow = 5 * time.Second }, nil, "b{[ok] ok}", nextTime},
		{
			"all are deaf", func(m *member) { m.deaf = true }, func(m *member) { m.deaf = true },
			"nobody answered within 10s; see there", wholeTime,
		},
		{
			"one is busy, one is deaf", func(m *member) { m.since = time.Now(); m.address = netip.MustParseAddr("203.0.113.7") },
			func(m *member) { m.deaf = true }, "nobody answered within 10s; see there", wholeTime,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1", "b": "198.51.100.2"})
				f.say(standTime)
				c.a(f.all["a"])
				if c.b != nil {
					c.b(f.all["b"])
				}
				f.run(func() {
					began := time.Now()
					got := why(f.all["turn"].Outside(t.Context(), at("203.0.113.7", 3478)))
					if !strings.Contains(got, c.want) || time.Since(began) > c.span {
						t.Errorf("%s is seen after %s", got, time.Since(began))
					}
				})
				if n := len(f.all["turn"].asking.waiting); n > 0 {
					t.Errorf("%d are waited for still", n)
				}
			})
		})
	}
}

// Where nobody can look, why is said, and nobody is asked in vain.
func TestOutsideOfNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(turn, a *member)
		want   string
	}{
		{"alone", func(turn, _ *member) { clear(turn.peers.by) }, "no other machine is here; netwatch status"},
		{"gone", func(turn, _ *member) { turn.peers.unhear() }, "no other machine is here; "},
		{
			"inside", func(_, a *member) { a.address = netip.MustParseAddr("203.0.113.7") },
			"no other machine that is here (1) has said a public ipv4 address that is not ours; one that is elsewhere",
		},
		{
			"not served", func(_, a *member) { a.settings.Serve = nil },
			`no machine elsewhere (1) serves turn; write serve = ["turn"] into [source.mqtt] there`,
		},
		{
			"young", func(turn, _ *member) { turn.since = time.Now().Add(-2 * time.Second) },
			"203.0.113.7 has stood for 2 s, others ask after 30 s; ",
		},
		{
			"another", func(turn, _ *member) { turn.address = netip.MustParseAddr("203.0.113.8") },
			"203.0.113.7 is not our public address any more",
		},
		{
			"busy", func(_, a *member) { a.serving.begun = slices.Repeat([]time.Time{time.Now()}, servesAMinute) },
			"all that serve us are busy; why they are",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1"})
				f.say(standTime)
				c.change(f.all["turn"], f.all["a"])
				if c.name == "inside" || c.name == "not served" {
					f.say(0)
				}
				f.run(func() {
					began := time.Now()
					got := why(f.all["turn"].Outside(t.Context(), at("203.0.113.7", 3478)))
					if !strings.HasPrefix(got, c.want) || time.Since(began) > 0 {
						t.Errorf("%s, after %s", got, time.Since(began))
					}
				})
				if f.all["a"].looks() > 0 {
					t.Error("it was looked at")
				}
			})
		})
	}
}

// Nothing is sent for a machine that is not served, nor to another address than it has said
// for half a minute by our clock, to ours or to our network's, nor to ports of other
// services. Why it is not, the log and status say; who is served hears that it is busy.
func TestServeRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(a *member)
		to     string
		port   uint16
		want   string
	}{
		{"not served", func(a *member) { a.settings.Serve = nil }, "203.0.113.7", 3478, "it is not in serve"},
		{"of another", nil, "203.0.113.99", 3478, "203.0.113.99 is not the address that it has said"},
		{
			"of this machine", func(a *member) { a.address = netip.MustParseAddr("203.0.113.7") }, "203.0.113.7", 3478,
			"203.0.113.7 is this machine's public address too",
		},
		{"of its network", func(a *member) {
			a.serving.networks = func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }
		}, "203.0.113.7", 3478, "203.0.113.7 is in a network that this machine is in itself"},
		{
			"of another family", func(a *member) { a.address = netip.MustParseAddr("2001:db8::1") }, "203.0.113.7", 3478,
			"this machine has no public ipv4 address",
		},
		{"a port", nil, "203.0.113.7", 53, "it asks about a port below 1024"},
		{"gone", func(a *member) { a.peers.unhear() }, "203.0.113.7", 3478, "is not the address that it has said"},
		{
			"no way", func(a *member) { a.cannot = errors.New("this machine has no way there") }, "203.0.113.7", 3478,
			"this machine has no way there",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1"})
				f.say(standTime)
				if c.change != nil {
					c.change(f.all["a"])
				}
				f.run(func() {
					f.pass("turn", asks, "a", request{"abcdefghij", at(c.to, c.port)})
					<-time.After(time.Second)
				})
				a, turn := f.all["a"], f.all["turn"]
				if note := a.Serves(); a.looks() > 0 && a.cannot == nil || !strings.Contains(note, c.want) {
					t.Errorf("looked %d times; %s", a.looks(), note)
				}
				said := slices.Contains(turn.got, `answer from a: {"id":"abcdefghij","ways":["busy"],"relay":"busy"}`)
				if said != (c.name != "not served") {
					t.Errorf("it was told %q", turn.got)
				}
			})
		})
	}
}

// A private address is none to send to, whoever says it.
func TestServePrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, address := range []string{"10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "fe80::1", "224.0.0.1"} {
			f := newFleet(t, map[string]string{"turn": address, "a": "198.51.100.1"})
			f.say(standTime)
			f.run(func() {
				f.pass("turn", asks, "a", request{"abcdefghij", at(address, 3478)})
				<-time.After(time.Second)
			})
			if f.all["a"].looks() > 0 {
				t.Errorf("%s was sent to", address)
			}
		}
	})
}

// An address must have stood for half a minute as we hear it, whatever its machine says of
// that; and after a restart as the state has it.
func TestServeStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1"})
		a := f.all["a"]
		for _, want := range []struct {
			after time.Duration
			looks int
		}{{standTime - time.Second, 0}, {askPause, 1}} {
			f.say(want.after)
			f.run(func() {
				f.pass("turn", asks, "a", request{fmt.Sprintf("abcdefghij%d", want.looks), at("203.0.113.7", 3478)})
				<-time.After(time.Second)
			})
			if a.looks() != want.looks {
				t.Errorf("after %s it looked %d times", want.after, a.looks())
			}
		}
		if tell, _ := a.peers.next("turn", a.emit); tell != nil {
			tell()
		}
		for key := range a.state {
			if strings.Contains(a.state[key], "203.0.113.7") {
				a.state[key] = strings.Replace(a.state[key], `"number"`, `"x":1,"number"`, 1)
			}
		}
		again := newListener(t, maps.Clone(a.state))
		again.peers.recall()
		f.say(0)
		b := stands(time.Now().UnixMilli()+1, func(b *bulletin) { b.Addresses = f.all["turn"].env.Known() })
		again.peers.read("turn", b.text(), 0)
		if stood, said := again.peers.stood("turn", f.all["turn"].address); !said || stood < askPause {
			t.Errorf("after a restart it has stood for %s", stood)
		}
	})
}

// What a machine says that its address has stood for is not heeded.
func TestServeStandsByOurClock(t *testing.T) {
	w, err := parseBulletin([]byte(`{"number":5,"connect":4,"addresses":{"ipv4":{"address":"203.0.113.7"}},` +
		`"stood":{"ipv4":{"address":"203.0.113.7","since":"2001-01-01T00:00:00Z"}}}`))
	if err != nil || len(w.Stood) > 0 {
		t.Errorf("%v is taken from a stranger: %v", w.Stood, err)
	}
	var was standing = map[netwatch.Family]stand{
		netwatch.IPv4: {netip.MustParseAddr("203.0.113.7"), time.Now().Add(time.Hour)},
	}
	if now := time.Now(); !was.after(w.Addresses, now)[netwatch.IPv4].Since.Equal(now) {
		t.Error("a time that has not come is taken")
	}
	if len(was.after(nil, time.Now())) > 0 {
		t.Error("an address stands that is not said any more")
	}
}

// One machine is looked at once a minute, all together ten times, and a flood of asks gets
// one word that says so. The same ask handed over twice is one.
func TestServeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]string{"a": "198.51.100.1"}
		for i := range 15 {
			all[fmt.Sprintf("t%d", i)] = fmt.Sprintf("203.0.113.%d", i+1)
		}
		f := newFleet(t, all)
		f.say(standTime)
		f.run(func() {
			for n := range 1000 {
				f.pass("t0", asks, "a", request{fmt.Sprintf("abcdefghij%d", n/2), at("203.0.113.1", 3478)})
				<-time.After(20 * time.Millisecond)
			}
			if looks, got := f.all["a"].looks(), len(f.all["t0"].got); looks != 1 || got != 2 {
				t.Errorf("of a flood of one machine %d are looked at, and %d answered", looks, got)
			}
			if again := f.all["t0"].got[1]; strings.Contains(again, `"abcdefghij0"`) {
				t.Errorf("what was handed over twice is answered with %s", again)
			}
			for i := range 15 {
				f.pass(fmt.Sprintf("t%d", i), asks, "a", request{"abcdefghij", at(fmt.Sprintf("203.0.113.%d", i+1), 3478)})
			}
			<-time.After(time.Second)
			if looks := f.all["a"].looks(); looks != 10 {
				t.Errorf("%d are looked at in a minute", looks)
			}
			for after, want := range []int{10, 11} { // The first was looked at 21 s ago
				<-time.After([]time.Duration{37 * time.Second, time.Second}[after])
				f.pass("t0", asks, "a", request{fmt.Sprint("abcdefghijk", after), at("203.0.113.1", 3478)})
				<-time.After(time.Second)
				if looks := f.all["a"].looks(); looks != want {
					t.Errorf("at the end of it %d, not %d", looks, want)
				}
			}
		})
	})
}

// An answer is taken once, from who was asked, to an ask of ours that is waited for, and
// with a word for all that was asked.
func TestAnswersOfStrangers(t *testing.T) {
	l := newListener(t, map[string]string{})
	got := make(chan *asked, 9)
	wait := func() { l.asking.waiting["abcdefghij"] = &asked{peer: "a", ways: 1, got: got} }
	wait()
	const right = `{"id":"abcdefghij","ways":["ok"],"relay":"ok"}`
	for from, text := range map[string]string{
		"b": right, "a": strings.Replace(right, "abcdefghij", "abcdefghik", 1),
	} {
		l.asking.deliver(from, []byte(text))
	}
	for _, text := range []string{
		"", "[]", "7", right + right, strings.Replace(right, `"ok"]`, `"ok","ok"]`, 1),
		strings.Replace(right, `"ok"]`, `]`, 1),
		strings.Replace(right, `"ok"]`, `"fine"]`, 1), strings.Replace(right, `"relay":"ok"`, `"relay":""`, 1),
		strings.Replace(right, `"relay"`, `"text":"x","relay"`, 1), strings.Replace(right, `{`, `{"x":1,`, 1),
		strings.Replace(right, `"ok"`, `"`+strings.Repeat("x", maxAnswer)+`"`, 1), `{"id":"abcdefghij"}`,
	} {
		l.asking.deliver("a", []byte(text))
	}
	if len(got) > 0 {
		t.Fatalf("%+v is taken", *<-got)
	}
	for range 2 {
		l.asking.deliver("a", []byte(right))
	}
	if len(got) != 1 || !isOK((<-got).seen) {
		t.Errorf("%d more are taken", len(got))
	}
}

// What a stranger asks is taken within bounds or not at all.
func TestAsksOfStrangers(t *testing.T) {
	const right = `{"id":"abcdefghij","address":"203.0.113.7","ways":[{"over":"udp","port":3478}],` +
		`"name":"n","password":"p"}`
	if _, err := parseAsk([]byte(right)); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		`"udp"=>"sctp"`, `3478=>65536`, `3478=>-1`, `"abcdefghij"=>"ABC"`, `"203.0.113.7"=>""`, `"203.0.113.7"=>"fe80::1%e"`,
		`"203.0.113.7"=>"::ffff:203.0.113.7"`, `"n"=>""`, `"n"=>"` + strings.Repeat("n", maxText+1) + `"`,
		`"p"=>"` + strings.Repeat("p", maxText+1) + `"`, `"p"=>"` + strings.Repeat("p", maxAsk) + `"`,
		`"name"=>"host"`, `[{"over":"udp","port":3478}]=>[]`,
		`[{"over":"udp","port":3478}=>[` + strings.Repeat(`{"over":"udp","port":3478},`, maxWays) + `{"over":"udp","port":1}`,
		`"p"}=>"p"} 7`,
	} {
		from, to, _ := strings.Cut(change, "=>")
		if a, err := parseAsk([]byte(strings.Replace(right, from, to, 1))); err == nil || !strings.Contains(right, from) {
			t.Errorf("with %s it is taken for %+v", change, a)
		}
	}
	for _, text := range []string{`{"id":"abcdefghij"}`, ``, `[]`, `null`} {
		if a, err := parseAsk([]byte(text)); err == nil {
			t.Errorf("%s is taken for %+v", text, a)
		}
	}
}

// A topic says who asks or answers whom.
func TestAsides(t *testing.T) {
	for topic, want := range map[string]string{
		"t/u/a/ask/b": "a ask b", "t/u/a.b/answer/c": "a.b answer c", "t/u/a/state": "  ", "t/u/a/ask/b/c": "  ",
		"t/u/a/tell/b": "  ", "t/a/ask/b": "  ", "t/u/A/ask/b": "  ", "t/u/a/ask/+": "  ", "t/u//ask/b": "  ",
	} {
		from, kind, to := Topic("t/u").asideOf(topic)
		if got := from + " " + kind + " " + to; got != want {
			t.Errorf("%s is %q", topic, got)
		}
		if kind != "" && Topic("t/u").aside(from, kind, to) != topic {
			t.Errorf("%s is not that again", topic)
		}
	}
}

// FuzzAsides holds that whatever strangers ask and answer, what is taken is within bounds,
// and is understood by others as it is by us.
func FuzzAsides(f *testing.F) {
	f.Add(`{"id":"abcdefghij","address":"203.0.113.7","ways":[{"over":"udp","port":3478}],"name":"n","password":""}`)
	f.Add(`{"id":"abcdefghij","ways":["ok","silent"],"relay":"busy"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parseAsk([]byte(text)); err == nil {
			again, _ := json.Marshal(a)
			b, err := parseAsk(again)
			if same := fmt.Sprint(a) == fmt.Sprint(b); len(again) <= maxAsk && (err != nil || !same) || len(a.Ways) > maxWays {
				t.Errorf("%q is %s, which is not taken: %v", text, again, err)
			}
		}
		if a, err := parseAnswer([]byte(text)); err == nil {
			for _, w := range a.All() {
				if !slices.Contains(netwatch.Words, w) {
					t.Errorf("%q says %q", text, w)
				}
			}
		}
	})
}
