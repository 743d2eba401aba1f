package sources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"netwatch"
	_ "netwatch/lab/drawn" // Alike in every run
)

// A world is what servers say, without a network: they are functions, and time
// is that of a synctest bubble.
type world struct {
	mu        sync.Mutex
	known     netwatch.Addresses
	says      map[Server]func() (netip.Addr, time.Duration, error)
	questions []Server
	events    []netwatch.Event
	confirmed []string
	doubts    int  // how often the known address was in doubt
	answered  bool // whether somebody answered when it was last
	refuse    bool
	jumps     chan struct{}
	open      int // questions that have no answer yet
	log       strings.Builder
}

func (w *world) ask(ctx context.Context, server Server, family netwatch.Family) Answer {
	w.mu.Lock()
	w.questions = append(w.questions, server)
	addr, delay, err := w.says[server]()
	w.open++
	w.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		err = netwatch.CheckPublic(addr, nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
	return Answer{Server: server, Family: family, Address: addr, Err: err, RTT: delay}
}

// clock is a clock that jumps when the test says so.
func (w *world) clock(context.Context) (<-chan struct{}, error) { return w.jumps, nil }

func (w *world) emit(ev netwatch.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, ev)
	if text := strings.Join(ev.By, ", "); text == "" || text != ev.Fields["by"] {
		panic(fmt.Sprintf("it is by %q, and its field by says %q", ev.By, ev.Fields["by"]))
	}
	if w.refuse {
		return errUnheard
	}
	w.know(netip.MustParseAddr(ev.Fields["new"]))
	return declared(ev)
}

func (w *world) know(a netip.Addr) {
	w.known = netwatch.Addresses{netwatch.IPv4: {Address: a}}
}

// honest is a server that answers within a delay.
func honest(a netip.Addr, delay time.Duration) func() (netip.Addr, time.Duration, error) {
	return func() (netip.Addr, time.Duration, error) { return a, delay, nil }
}

var errSilent = errors.New("no answer")

// dead is a server that never answers, until the timeout.
func dead() (netip.Addr, time.Duration, error) { return netip.Addr{}, time.Second, errSilent }

// broken is a server that cannot be asked.
func broken() (netip.Addr, time.Duration, error) { return netip.Addr{}, 0, errSilent }

// source is a STUN source in w with servers a, b, c and so on.
func (w *world) source(agree int, says ...func() (netip.Addr, time.Duration, error)) *stunSource {
	w.says = map[Server]func() (netip.Addr, time.Duration, error){}
	s := newSTUN().(*STUN)
	s.Servers, s.Agree = nil, agree
	s.Families, s.Every = []netwatch.Family{netwatch.IPv4}, netwatch.Duration(10*time.Second)
	for i, f := range says {
		server := Server(string(rune('a' + i)))
		s.Servers = append(s.Servers, server)
		w.says[server] = f
	}
	return s.source("stun", w.env(), w.ask, w.clock)
}

// env is what a source in w is lent.
func (w *world) env() Env {
	return Env{
		Known: func() netwatch.Addresses { w.mu.Lock(); defer w.mu.Unlock(); return w.known },
		Doubt: func(_ netwatch.Family, answered bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.doubts, w.answered = w.doubts+1, answered
		},
		Confirm: func(_ netwatch.Family, _ time.Time, by []string, _ netip.Addr) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.confirmed = append(w.confirmed, strings.Join(by, "+"))
		},
		Log: zerolog.New(&w.log),
	}
}

// run runs a source for a while in a bubble.
func run(t *testing.T, s *stunSource, w *world, span time.Duration, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, w.emit) }()
	if meanwhile != nil {
		meanwhile()
	}
	<-time.After(span) // By the clock of the bubble
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (w *world) changes() (all []string) {
	for _, ev := range w.events {
		all = append(all, fmt.Sprintf("%s>%s by %s", ev.Fields["old"], ev.Fields["new"], ev.Fields["by"]))
	}
	return all
}

// poll polls once and returns how long it took.
func (w *world) poll(t *testing.T, s *stunSource, all bool) (netwatch.Result, time.Duration) {
	began := time.Now()
	r := s.poll(t.Context(), w.emit, all, false)
	return r, time.Since(began)
}

// One server a poll, in turn, as long as it says what is known.
func TestOneServerAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(first, 0), honest(first, 0), honest(first, 0))
		run(t, s, w, 45*time.Second, nil)
		if diff := cmp.Diff([]string{"a", "b", "c", "a", "b"}, w.confirmed); diff != "" {
			t.Error(diff)
		}
		if len(w.events) > 0 || len(w.questions) != 5 {
			t.Errorf("events %v, questions %v", w.changes(), w.questions)
		}
	})
}

// The first poll knows nothing and asks all; so does one that hears of a change.
func TestAllServersWhenOneDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.source(2, honest(first, 0), honest(first, 0), dead)
		run(t, s, w, 5*time.Second, nil)
		for _, server := range []Server{"a", "b"} {
			w.says[server] = honest(second, 0)
		}
		_, took := w.poll(t, s, false)
		if diff := cmp.Diff([]string{">203.0.113.5 by a, b", "203.0.113.5>198.51.100.7 by b, a"}, w.changes(),
			sortLast); diff != "" {
			t.Error(diff)
		}
		if took > stagger {
			t.Errorf("it waited %s for the server that is down", took)
		}
	})
}

// sortLast lets the order of those who agree differ: they answer at once.
var sortLast = cmp.Comparer(func(a, b string) bool {
	return len(a) == len(b) && strings.SplitAfter(a, "by ")[0] == strings.SplitAfter(b, "by ")[0]
})

func TestNothingFalseIsBelieved(t *testing.T) {
	private := netip.MustParseAddr("192.168.1.1")
	cases := []struct {
		name string
		says []func() (netip.Addr, time.Duration, error)
		want netwatch.Outcome
	}{
		{"one of three lies", []func() (netip.Addr, time.Duration, error){
			honest(second, 0), honest(first, 0),
			honest(first, 0),
		}, netwatch.Unchanged},
		{"all differ", []func() (netip.Addr, time.Duration, error){
			honest(second, 0), honest(third, 0),
			honest(netip.MustParseAddr("192.0.2.1"), 0),
		}, netwatch.Failed},
		{
			"one says it and nobody else answers",
			[]func() (netip.Addr, time.Duration, error){honest(second, 0), dead, dead},
			netwatch.Failed,
		},
		{"all say a private one", []func() (netip.Addr, time.Duration, error){
			honest(private, 0), honest(private, 0),
			honest(private, 0),
		}, netwatch.Failed},
		{"all say none", []func() (netip.Addr, time.Duration, error){
			honest(netip.Addr{}, 0), honest(netip.Addr{}, 0),
			honest(netip.Addr{}, 0),
		}, netwatch.Failed},
		{"nobody answers", []func() (netip.Addr, time.Duration, error){dead, dead, dead}, netwatch.Failed},
		{
			"a lie and an old one",
			[]func() (netip.Addr, time.Duration, error){honest(second, 0), honest(first, 0), dead},
			netwatch.Failed,
		},
	}
	for _, c := range cases {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " asking all: ", all), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{}
					w.know(first)
					s := w.source(2, c.says...)
					if r, _ := w.poll(t, s, all); r.Outcome != c.want || len(w.events) > 0 {
						t.Errorf("%+v, events %v", r, w.changes())
					}
				})
			})
		}
	}
}

// Trouble is logged when it begins and when it is over.
func TestTroubleIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(1, dead)
		for range 3 {
			w.poll(t, s, false)
		}
		w.says["a"] = honest(first, 0)
		w.poll(t, s, false)
		w.poll(t, s, false)
		if n := strings.Count(w.log.String(), "\n"); n != 2 || !strings.Contains(w.log.String(), "can be found out again") {
			t.Errorf("log:\n%s", w.log.String())
		}
	})
}

// What the dispatcher refuses is emitted again.
func TestRefusedEventComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{refuse: true}
		w.know(first)
		s := w.source(1, honest(second, 0))
		if r, _ := w.poll(t, s, false); !errors.Is(r.Err, errUnheard) {
			t.Errorf("%+v", r)
		}
		w.refuse = false
		if r, _ := w.poll(t, s, false); r.Outcome != netwatch.Changed || len(w.events) != 2 {
			t.Errorf("%+v, events %v", r, w.changes())
		}
	})
}

// A probe asks all servers, and ends with those that confirm.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(first, 50*time.Millisecond), honest(first, 60*time.Millisecond),
			honest(first, 70*time.Millisecond))
		run(t, s, w, time.Second, func() {
			time.Sleep(time.Second) // After the first poll, which asks one
			if r := s.Probe(t.Context()); r.Outcome != netwatch.Unchanged || r.Detail != "ipv4 203.0.113.5 (a, b)" {
				t.Errorf("%+v", r)
			}
		})
		if diff := cmp.Diff([]string{"a", "a+b"}, w.confirmed); diff != "" {
			t.Error(diff)
		}
	})
}

// A family that is not there does not matter as long as another is.
func TestOneFamilySuffices(t *testing.T) {
	v4 := netwatch.Result{Outcome: netwatch.Changed, Detail: "ipv4"}
	v6 := netwatch.Failure(errSilent)
	if r := oneOf([]netwatch.Result{v4, v6}); r.Outcome != netwatch.Changed || r.Err != nil || r.Detail != "ipv4" {
		t.Errorf("%+v", r)
	}
	if r := oneOf([]netwatch.Result{v6, v6}); r.Outcome != netwatch.Failed || r.Err == nil {
		t.Errorf("%+v", r)
	}
}

// Under any mix of servers of which fewer than agree lie, nothing but the truth
// is ever emitted; and once agree of them say the truth, it is.
func TestLiarsBelowAgree(t *testing.T) {
	truth, lies := second, []netip.Addr{
		first, third, netip.MustParseAddr("192.0.2.66"),
		netip.MustParseAddr("10.0.0.1"),
		{},
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "servers")
		agree := rapid.IntRange(1, n).Draw(rt, "agree")
		liars := rapid.IntRange(0, agree-1).Draw(rt, "liars")
		silent := rapid.IntRange(0, n-liars).Draw(rt, "silent")
		var says []func() (netip.Addr, time.Duration, error)
		for i := range n {
			delay := time.Duration(rapid.IntRange(0, 300).Draw(rt, "delay")) * time.Millisecond
			switch {
			case i < liars:
				says = append(says, honest(rapid.SampledFrom(lies).Draw(rt, "lie"), delay))
			case i < liars+silent:
				says = append(says, dead)
			default:
				says = append(says, honest(truth, delay))
			}
		}
		says = rapid.Permutation(says).Draw(rt, "order")
		all := rapid.Bool().Draw(rt, "all")
		w := &world{}
		if before := rapid.SampledFrom([]netip.Addr{{}, first, truth}).Draw(rt, "known"); before.IsValid() {
			w.know(before)
		}
		wanted := 1
		if w.known[netwatch.IPv4].Address == truth {
			wanted = 0
		}
		synctest.Test(t, func(t *testing.T) {
			s := w.source(agree, says...)
			for range n { // Each has its turn
				w.poll(t, s, all)
			}
		})
		if slices.ContainsFunc(w.events, func(ev netwatch.Event) bool { return ev.Fields["new"] != truth.String() }) {
			rt.Fatalf("a lie: %v", w.changes())
		}
		if honests := n - liars - silent; len(w.events) > wanted || honests >= agree && len(w.events) != wanted {
			rt.Fatalf("the truth was not believed once: %v", w.changes())
		}
	})
}

func TestVerdictOfATie(t *testing.T) {
	say := func(server Server, a netip.Addr) Answer { return Answer{Server: server, Address: a} }
	answers := []Answer{say("a", first), say("b", second), say("c", first), say("d", second)}
	if a, _, err := Verdict(answers, 2); err == nil || !strings.Contains(err.Error(), "do not agree") {
		t.Errorf("%s, %v", a, err)
	}
	if a, by, err := Verdict(answers[:3], 2); err != nil || a != first || len(by) != 2 {
		t.Errorf("%s by %v, %v", a, by, err)
	}
}

func TestServerText(t *testing.T) {
	for text, want := range map[string]Server{
		"stun.example.org": "stun.example.org:3478", "STUN.Example.org:19302": "stun.example.org:19302",
		"203.0.113.53": "203.0.113.53:3478", "203.0.113.53:1": "203.0.113.53:1",
		"2001:db8::53":     "[2001:db8::53]:3478",
		"[2001:db8::53]:5": "[2001:db8::53]:5", "[2001:db8::53]": "[2001:db8::53]:3478",
		"": "", ":3478": "", "host:0": "", "host:65536": "", "host:x": "", "a " +
			"b": "", "stun:stun.example.org": "", "http://x": "",
		"999.1.1.1": "", "1.2.3": "", "a..b": "", "ü.example": "", "host:": "",
	} {
		var got Server
		if err := got.UnmarshalText([]byte(text)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestCheckSettings(t *testing.T) {
	if m := newSTUN().Check(); len(m) > 0 {
		t.Errorf("the defaults: %+v", m)
	}
	for key, spoil := range map[string]func(*STUN){
		"servers":  func(s *STUN) { s.Servers = append(s.Servers, s.Servers[0]) },
		"agree":    func(s *STUN) { s.Agree = 4 },
		"every":    func(s *STUN) { s.Every = 0 },
		"timeout":  func(s *STUN) { s.Timeout = netwatch.Duration(time.Hour) },
		"families": func(s *STUN) { s.Families = nil },
	} {
		s := newSTUN().(*STUN)
		spoil(s)
		if m := s.Check(); len(m) != 1 || m[0].Key != key || m[0].Text == "" {
			t.Errorf("%s: %+v", key, m)
		}
	}
}

// Where one host is so many of the servers that the others cannot agree without it,
// that is a mistake, as far as it can be seen without looking up names.
func TestAgreementOfOneHost(t *testing.T) {
	for text, wrong := range map[string]string{
		"203.0.113.1:3478 203.0.113.1:3479":                                       "agree",
		"203.0.113.1:3478 203.0.113.1:3479 203.0.113.2:3478":                      "",
		"stun.example.org:3478 stun.example.org:3479":                             "agree",
		"stun.example.org:3478 stun.example.net:3478":                             "",
		"[2001:db8::1]:3478 [2001:db8::2]:3478":                                   "agree",
		"[2001:db8::1]:3478 [2001:db8:0:1::1]:3478":                               "",
		"203.0.113.1:3478 203.0.113.1:3479 [2001:db8::1]:3478":                    "families",
		"203.0.113.1:3478 203.0.113.2:3479 [2001:db8::1]:3478 [2001:db8::2]:3478": "families",
	} {
		s := newSTUN().(*STUN)
		s.Servers = nil
		for _, server := range strings.Fields(text) {
			s.Servers = append(s.Servers, Server(server))
		}
		m := s.Check()
		switch {
		case wrong == "" && len(m) == 0:
		case len(m) == 0 || m[0].Key != wrong || !strings.Contains(m[0].Text, "for one host has one voice"):
			t.Errorf("%s: %+v, want %q", text, m, wrong)
		}
	}
}

// A poll that does not end can be seen from outside, and rest can be told from it.
func TestLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(1, honest(first, 40*time.Millisecond))
		run(t, s, w, time.Second, func() {
			began := time.Now()
			time.Sleep(20 * time.Millisecond)
			if at := s.Looking(); !at.Equal(began) {
				t.Errorf("in a poll: %s, want %s", at, began)
			}
			time.Sleep(30 * time.Millisecond)
			if at := s.Looking(); !at.IsZero() {
				t.Errorf("at rest: %s", at)
			}
		})
	})
}

// Nobody answers for hours: that is said once and with its remedy, the last good
// address stays, polls go on at their pace, and the first answers after it count.
func TestUnreachableForHours(t *testing.T) {
	const hours = 7 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		var down atomic.Bool
		server := func() (netip.Addr, time.Duration, error) {
			if down.Load() {
				return dead()
			}
			return second, 20 * time.Millisecond, nil
		}
		down.Store(true)
		s := w.source(2, server, server, server)
		run(t, s, w, time.Minute, func() {
			time.Sleep(hours)
			w.mu.Lock()
			defer w.mu.Unlock()
			// More often at first, while the line may come back soon.
			polls, soon := int(hours/(10*time.Second)), int(outageTime/outagePause)
			if n := len(w.questions); n < polls || n > 3*(polls+soon)+3 {
				t.Errorf("%d questions in %d polls of 3 servers", n, polls)
			}
			if trouble := s.Trouble(); trouble == nil || w.known[netwatch.IPv4].Address != first || len(w.events) != 0 ||
				len(w.confirmed) != 0 {
				t.Errorf("trouble: %v; known: %v; events: %v; confirmed: %v", trouble, w.known, w.events, w.confirmed)
			}
			down.Store(false)
		})
		if len(w.events) != 1 || w.known[netwatch.IPv4].Address != second || s.Trouble() != nil {
			t.Errorf("afterwards: %v; trouble: %v", w.changes(), s.Trouble())
		}
		if log := w.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, `"hint":"see whether UDP`) {
			t.Errorf("the log says:\n%s", log)
		}
	})
}

// By which address of this machine the servers were asked goes with the event; that
// they do not say an address any more is told.
func TestOwnAndDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.source(1, honest(first, 0))
		own := netip.MustParseAddr("192.168.50.10")
		s.views[0].ask = func(_ context.Context, server Server, family netwatch.Family) Answer {
			return Answer{Server: server, Family: family, Address: first, Own: own}
		}
		w.poll(t, s, true)
		if len(w.events) != 1 || w.events[0].Own != own || w.doubts != 0 {
			t.Fatalf("events %+v, doubts %d", w.events, w.doubts)
		}
		s.views[0].ask = func(_ context.Context, server Server, family netwatch.Family) Answer {
			return Answer{Server: server, Family: family, Err: errSilent}
		}
		w.poll(t, s, true)
		if w.doubts != 1 {
			t.Errorf("%d doubts", w.doubts)
		}
	})
}

// On a machine with IPv4 alone nothing is wrong; an IPv6 that was there and is gone is
// said, and so is a machine without any.
func TestAbsentFamilyIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		settings := newSTUN().(*STUN)
		settings.Agree, settings.Servers = 1, []Server{"a"}
		four := true
		ask := func(_ context.Context, server Server, family netwatch.Family) Answer {
			if family == netwatch.IPv4 && four {
				return Answer{Server: server, Family: family, Address: first}
			}
			return Answer{Server: server, Family: family, Err: errSilent}
		}
		s := settings.source("stun", w.env(), ask, w.clock)
		w.poll(t, s, true)
		if err := s.Trouble(); err != nil {
			t.Errorf("with IPv4 alone: %v", err)
		}
		w.known[netwatch.IPv6] = netwatch.Address{Address: netip.MustParseAddr("2001:db8::5")}
		w.poll(t, s, true)
		if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "ipv6") {
			t.Errorf("IPv6 is gone: %v", err)
		}
		four, w.known = false, netwatch.Addresses{}
		w.poll(t, s, true)
		if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "ipv4") {
			t.Errorf("none is there: %v", err)
		}
	})
}
