package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/sources/stuntest"
)

const ms = time.Millisecond

type server = func() (netip.Addr, time.Duration, error)

// How long a poll takes: it never waits for what cannot matter any more.
func TestHowLongAPollTakes(t *testing.T) {
	cases := []struct {
		name    string
		agree   int
		says    []server
		all     bool
		outcome netwatch.Outcome
		took    time.Duration
	}{
		{"confirmed by the first", 2, []server{honest(first, 7*ms), dead, dead}, false, netwatch.Unchanged, 7 * ms},
		{
			"confirmed by the second while the first is slow", 2,
			[]server{dead, honest(first, 0), dead},
			false,
			netwatch.Unchanged, time.Second,
		},
		{
			"confirmed by the second, and the first had the same to say", 2,
			[]server{honest(first, 300*ms), honest(first, 0), dead},
			false, netwatch.Unchanged, 300 * ms,
		},
		{
			"confirmed by the second, when the first fails at once", 2,
			[]server{broken, honest(first, 5*ms)},
			false, netwatch.Unchanged, 5 * ms,
		},
		{
			"a probe, and the last alone says what is known", 2,
			[]server{broken, broken, honest(first, 50*ms)},
			true, netwatch.Unchanged, 50 * ms,
		},
		{
			"a change, the first two slow", 2,
			[]server{dead, dead, honest(second, 0), honest(second, 0)},
			false, netwatch.Changed, 3 * stagger,
		},
		{
			"a change, the third slow", 2,
			[]server{honest(second, 5*ms), honest(second, 20*ms), dead},
			false,
			netwatch.Changed, 25 * ms,
		},
		{
			"a change, the first slow", 2,
			[]server{dead, honest(second, 0), honest(second, 20*ms)},
			false, netwatch.Changed,
			stagger + 20*ms,
		},
		{"a probe, one slow", 2, []server{dead, honest(first, 0), honest(first, 20*ms)}, true, netwatch.Unchanged, 20 * ms},
		{
			"a probe, one alone says what is known", 2,
			[]server{dead, honest(first, 0), dead},
			true,
			netwatch.Unchanged, time.Second,
		},
		{
			"all that answer differ, the last cannot decide it", 3,
			[]server{honest(second, 0), honest(third, 0), honest(first, 0), dead},
			false, netwatch.Failed, 0,
		},
		{"2 of 5 each: disputed for good", 2, []server{
			honest(second, 0), honest(third, 10*ms), honest(second, 20*ms),
			honest(third, 20*ms), dead,
		}, false, netwatch.Failed, 20 * ms},
		{
			"2 of 5, and no third in time to contradict", 2,
			[]server{honest(second, 0), honest(second, 10*ms), dead, dead, dead},
			false, netwatch.Changed, 10*ms + stagger,
		},
		{
			"1 suffices, and another contradicts it in time", 1,
			[]server{honest(second, 0), honest(first, 50*ms), dead},
			false,
			netwatch.Failed, 50 * ms,
		},
		{
			"1 suffices, and nobody contradicts it in time", 1,
			[]server{honest(second, 0), dead, dead},
			false,
			netwatch.Changed, stagger,
		},
		{"1 of 1", 1, []server{honest(second, 3*ms)}, false, netwatch.Changed, 3 * ms},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				w.know(first)
				r, took := w.poll(t, w.source(c.agree, c.says...), c.all)
				if r.Outcome != c.outcome || took != c.took {
					t.Errorf("%+v after %s; want %s after %s", r, took, c.outcome, c.took)
				}
				if changed := len(w.events) == 1; changed != (c.outcome == netwatch.Changed) {
					t.Errorf("events %v", w.changes())
				}
				if w.open != 0 {
					t.Errorf("%d questions outlived the poll", w.open)
				}
			})
		})
	}
}

// A server that failed last time delays nobody the next time, and is asked alone
// again once it answers.
func TestFailingServerIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, dead, honest(first, 5*ms), honest(first, 5*ms))
		change := func(to netip.Addr) time.Duration {
			w.says["b"], w.says["c"] = honest(to, 5*ms), honest(to, 5*ms)
			_, took := w.poll(t, s, false) // It is a's turn
			w.poll(t, s, false)
			w.poll(t, s, false)
			return took
		}
		if took := change(second); took != stagger+10*ms {
			t.Errorf("a change when it fails for the first time: %s", took)
		}
		if took := change(third); took != 10*ms {
			t.Errorf("a change when it failed before: %s", took)
		}
		if n := len(w.events); n != 2 {
			t.Errorf("events %v", w.changes())
		}
		w.says["a"] = honest(third, 50*ms)
		change(third)
		w.questions = nil
		change(third)
		if !slices.Equal(w.questions, []Server{"a", "b", "c"}) {
			t.Errorf("questions %v", w.questions)
		}
	})
}

// A poll that waits for a slow server does not put off the next one.
func TestSlowServerDoesNotPutOffPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(1, dead, honest(first, 0))
		s.pace.every, s.views[0].every = 200*ms, 200*ms
		run(t, s, w, 1050*ms, nil)
		if n := len(w.confirmed); n != 6 {
			t.Errorf("%d polls ended in 1.05 s", n)
		}
	})
}

// Two servers that say the opposite of each other for ever, at agree = 1, must
// not make the address go back and forth.
func TestContradictionDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(1, honest(first, 30*ms), honest(second, 10*ms))
		run(t, s, w, 5*time.Minute, nil)
		if len(w.events) > 0 {
			t.Errorf("events %v", w.changes())
		}
	})
}

// What one server says against the others is logged once, however often it is
// its turn, and again when it says something else or gives in.
func TestClaimIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(first, 0), honest(first, 0), honest(second, 0))
		polls := func() string {
			w.log.Reset()
			for range 9 {
				w.poll(t, s, false)
			}
			return w.log.String()
		}
		if log := polls(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"says":"198.51.100.7"`) {
			t.Errorf("at first:\n%s", log)
		}
		if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), "c says 198.51.100.7") {
			t.Errorf("trouble: %v", err)
		}
		if log := polls(); log != "" {
			t.Errorf("and no news:\n%s", log)
		}
		w.says["c"] = honest(third, 0)
		if log := polls(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `"says":"192.0.2.9"`) {
			t.Errorf("another claim:\n%s", log)
		}
		w.says["c"] = honest(first, 0)
		if log := polls(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "agrees again") {
			t.Errorf("given in:\n%s", log)
		}
		if err := s.Trouble(); err != nil {
			t.Errorf("trouble: %v", err)
		}
	})
}

// Where some answer, and too few agree, what they say is all that is wrong.
func TestClaimsAreTheTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(second, 0), honest(third, 0), dead)
		w.poll(t, s, true)
		want := "a says 198.51.100.7, which too few others say\nb says 192.0.2.9, which too few others say"
		if err := s.Trouble(); err == nil || err.Error() != want || !w.answered {
			t.Errorf("%v; somebody answered: %v", err, w.answered)
		}
	})
}

// When nobody answers, it is said, and what is known stays.
func TestSilenceIsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, dead, dead, dead)
		r, _ := w.poll(t, s, true)
		if r.Outcome != netwatch.Failed || w.answered || !strings.Contains(r.Detail, "203.0.113.5 not confirmed") ||
			netwatch.Hint(r.Err) == "" {
			t.Errorf("%+v, hint %q", r, netwatch.Hint(r.Err))
		}
		if s.Trouble() == nil || len(w.events)+len(w.confirmed) > 0 {
			t.Errorf("trouble %v, events %v, confirmed %v", s.Trouble(), w.changes(), w.confirmed)
		}
	})
}

// One host has one voice, whatever its names and ports; of IPv6 it has a /64.
func TestOneVoicePerServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		asked []string
		one   bool
	}{
		{"two names", []string{"192.0.2.1:3478", "192.0.2.1:3478"}, true},
		{"two ports", []string{"192.0.2.1:3478", "192.0.2.1:3479"}, true},
		{"neighbours", []string{"192.0.2.1:3478", "192.0.2.2:3478"}, false},
		{"one /64", []string{"[2001:db8::1]:3478", "[2001:db8::2:0:0:1]:3479"}, true},
		{"two /64", []string{"[2001:db8:0:1::1]:3478", "[2001:db8:0:2::1]:3478"}, false},
		{"mapped", []string{"192.0.2.1:3478", "[::ffff:192.0.2.1]:3478"}, true},
		{"mapped neighbours", []string{"[::ffff:192.0.2.1]:3478", "[::ffff:192.0.2.2]:3478"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var answers []Answer
			for i, asked := range c.asked {
				a := Answer{Server: Server(rune('a' + i)), Asked: netip.MustParseAddrPort(asked), Address: second}
				answers = append(answers, a)
			}
			address, by, err := Verdict(answers, 2)
			if (err != nil) != c.one || (len(OneHost(answers)) == 1) != c.one {
				t.Errorf("%s by %v: %v; of one host: %v", address, by, err, OneHost(answers))
			}
			if c.one && !strings.Contains(err.Error(), "a and b are one host, and have one voice") {
				t.Error(err)
			}
		})
	}
}

// A host with two voices of its own and an honest one: the lie that it says twice is
// not believed, and status says that it is one host.
func TestOneHostCannotOutvote(t *testing.T) {
	liar, err := stuntest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	host, _, _ := strings.Cut(liar.Addr(), ":")
	twin, err := stuntest.Listen(host + ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	honest, err := stuntest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer honest.Close()
	liar.Set(third)
	twin.Set(third)
	honest.Set(first)
	settings := newSTUN().(*STUN)
	settings.Servers = []Server{Server(liar.Addr()), Server(twin.Addr()), Server(honest.Addr())}
	settings.Families = []netwatch.Family{netwatch.IPv4}
	w := &world{}
	w.know(first)
	s := settings.Source("stun", w.env()).(*stunSource)
	r := s.poll(t.Context(), w.emit, true, false)
	if r.Outcome != netwatch.Failed || len(w.events) > 0 {
		t.Errorf("%+v, events %v", r, w.changes())
	}
	if err := s.Trouble(); err == nil || !strings.Contains(err.Error(), " are one host, and have one voice") {
		t.Errorf("trouble: %v", err)
	}
}

// A second address that enough servers say makes both doubtful, also if fewer
// say it.
func TestVerdictNeedsOneWinner(t *testing.T) {
	var answers []Answer
	for i, a := range []netip.Addr{first, first, first, second, second} {
		answers = append(answers, Answer{Server: Server(string(rune('a' + i))), Address: a})
	}
	if a, _, err := Verdict(answers, 2); err == nil || !strings.Contains(err.Error(), "do not agree") {
		t.Errorf("%s, %v", a, err)
	}
	if a, by, err := Verdict(answers, 3); err != nil || a != first || !slices.Equal(by, []string{"a", "b", "c"}) {
		t.Errorf("%s by %v, %v", a, by, err)
	}
}

// The first poll is at once and the others have a fixed period, however long
// they take; a jump of the clock is one more.
func TestWhenItPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{jumps: make(chan struct{}, 1)}
		w.know(first)
		began := time.Now()
		var at []time.Duration
		slow := func() (netip.Addr, time.Duration, error) {
			at = append(at, time.Since(began))
			return first, 50 * ms, nil
		}
		s := w.source(1, slow)
		run(t, s, w, 24*time.Second, func() {
			time.Sleep(24 * time.Second)
			w.jumps <- struct{}{}
		})
		want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 24 * time.Second, 34 * time.Second, 44 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

// A probe does not wait for a poll that is stuck on dead servers; one that comes
// while another is served gets a poll of its own, with all others that wait.
func TestProbeGetsItsOwnPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, dead, dead, dead)
		var took []time.Duration
		run(t, s, w, time.Second, func() {
			time.Sleep(10 * ms) // Into the first poll
			w.mu.Lock()
			for _, server := range []Server{"a", "b", "c"} {
				w.says[server] = honest(first, 50*ms)
			}
			w.mu.Unlock()
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() {
					time.Sleep(min(time.Duration(i), 1) * ms * 20) // All but the first come into its poll
					began := time.Now()
					if r := s.Probe(t.Context()); r.Outcome != netwatch.Unchanged {
						t.Errorf("%+v", r)
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					took = append(took, time.Since(began))
				})
			}
			wg.Wait()
		})
		want := []time.Duration{50 * ms, 80 * ms, 80 * ms, 80 * ms, 80 * ms}
		if diff := cmp.Diff(want, took); diff != "" {
			t.Error(diff)
		}
		if n := len(w.questions); n != 1+3+3 {
			t.Errorf("questions %v", w.questions)
		}
		if log := w.log.String(); log != "" {
			t.Errorf("a poll that was cut short was taken for trouble:\n%s", log)
		}
	})
}

// A probe waits for a source that has not begun, and fails when it is stopped.
func TestProbeOfAStoppedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, dead, dead)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if r := s.Probe(ctx); r.Outcome != netwatch.Failed {
			t.Errorf("never begun: %+v", r)
		}
		cancel()
		early := make(chan netwatch.Result, 1)
		go func() { early <- s.Probe(t.Context()) }()
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		defer func() {
			if r := <-early; r.Err == nil || strings.Contains(r.Err.Error(), "not running") {
				t.Errorf("begun later: %+v", r)
			}
		}()
		results := make(chan netwatch.Result, 2)
		go func() { _ = s.Run(ctx, w.emit) }()
		synctest.Wait()
		for range 2 { // The second waits for the first to be served
			go func() { results <- s.Probe(t.Context()) }()
			synctest.Wait()
		}
		began := time.Now()
		cancel()
		for range 2 {
			if r := <-results; r.Outcome != netwatch.Failed {
				t.Errorf("stopped: %+v", r)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %s to stop", took)
		}
		if log := w.log.String(); log != "" {
			t.Errorf("the end was taken for trouble:\n%s", log)
		}
		run(t, s, w, time.Second, func() {
			synctest.Wait()
			if r := s.Probe(t.Context()); strings.Contains(fmt.Sprint(r.Err), "not running") {
				t.Errorf("run again: %+v", r)
			}
		})
	})
}

// A family that answers is acted on while another is still silent.
func TestFamiliesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		settings := newSTUN().(*STUN)
		settings.Servers = settings.Servers[:2]
		began := time.Now()
		ask := func(_ context.Context, server Server, family netwatch.Family) Answer {
			if family == netwatch.IPv4 {
				return Answer{Server: server, Family: family, Address: first}
			}
			<-time.After(time.Second)
			return Answer{Server: server, Family: family, Err: errSilent}
		}
		env := w.env()
		s := settings.source("stun", env, ask, w.clock)
		emitted := time.Duration(-1)
		r := s.poll(t.Context(), func(ev netwatch.Event) error { emitted = time.Since(began); return w.emit(ev) }, true,
			false)
		if emitted != 0 || r.Outcome != netwatch.Changed ||
			r.Detail != "ipv4 203.0.113.5 (stun.cloudflare.com:3478, stun.nextcloud.com:3478)" {
			t.Errorf("emitted after %s: %+v", emitted, r)
		}
	})
}

// The whole source on real sockets: silent, lying and dead servers among those
// that tell the truth.
func TestSourceOnRealSockets(t *testing.T) {
	a, b, c, d := startServer(t), startServer(t), startServer(t), startServer(t)
	settings := settings(t, a, b, c, d)
	settings.Every, settings.Accept = netwatch.Duration(leastEvery), nil
	b.Behave(stuntest.Silent)
	w := &world{}
	env := Env{
		Known:   func() netwatch.Addresses { w.mu.Lock(); defer w.mu.Unlock(); return w.known },
		Confirm: func(netwatch.Family, time.Time, []string, netip.Addr) {},
		Doubt:   func(netwatch.Family, bool) {},
		Log:     zerolog.New(io.Discard),
	}
	s := settings.Source("stun", env).(*stunSource)
	events := make(chan netwatch.Event, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ev netwatch.Event) error { defer func() { events <- ev }(); return w.emit(ev) })
	}()
	if ev := <-events; ev.Fields["new"] != first.String() || ev.Fields["old"] != "" || ev.Name != netwatch.IPChanged ||
		ev.Source != "stun" {
		t.Errorf("%+v", ev)
	}
	for _, server := range []*stuntest.Server{a, c, d} {
		server.Set(second)
	}
	if ev := <-events; ev.Fields["new"] != second.String() || ev.Fields["old"] != first.String() ||
		ev.Fields["family"] != "ipv4" {
		t.Errorf("%+v", ev)
	}
	if r := s.Probe(ctx); r.Outcome != netwatch.Unchanged {
		t.Errorf("%+v", r)
	}
	cancel()
	if err := <-done; err != nil || len(events) > 0 {
		t.Errorf("%v, %d events too many", err, len(events))
	}
}

// all says what each server says, in the order of the settings, and asks each
// server only for a family that it can be asked for.
func TestAll(t *testing.T) {
	good, refusing := startServer(t), startServer(t)
	refusing.Behave(stuntest.Refuse)
	s := settings(t, good, refusing)
	s.Families = slices.Clone(netwatch.Families)
	answers := s.all(t.Context(), nil)
	if len(answers) != 2 || answers[0].Address != first || answers[0].Err != nil || answers[1].Server != s.Servers[1] {
		t.Fatalf("%+v", answers)
	}
	if answers[0].RTT <= 0 || answers[0].Asked.String() != good.Addr() {
		t.Errorf("%+v", answers[0])
	}
	if err := answers[1].Err; !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "500") ||
		answers[1].RTT > time.Duration(s.Timeout)/2 {
		t.Errorf("%+v", answers[1])
	}
}

// An answer from another port of the same machine is not heard.
func TestAnswerFromElsewhere(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	server.Elsewhere(true)
	if a := ask(t, s); a.Err == nil {
		t.Errorf("it believed %s", a.Address)
	}
	server.Elsewhere(false)
	if a := ask(t, s); a.Err != nil {
		t.Error(a.Err)
	}
}

// A name is looked up each time, for the family that is asked.
func TestQueryByName(t *testing.T) {
	server, err := stuntest.Listen("127.0.0.1:0") // Which is localhost
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Set(first)
	s := settings(t, server)
	_, port, _ := strings.Cut(server.Addr(), ":")
	s.Servers = []Server{Server("localhost:" + port)}
	if a := ask(t, s); a.Err != nil || a.Asked.String() != server.Addr() {
		t.Errorf("%+v", a)
	}
	s.Servers[0] = "name.invalid:3478"
	if a := ask(t, s); a.Err == nil || !strings.Contains(a.Err.Error(), "looking up name.invalid") {
		t.Errorf("%+v", a)
	}
}

// A canceled question ends at once and leaves nothing behind.
func TestCanceledQueryEnds(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	s.Timeout = netwatch.Duration(mostTimeout)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan bool, 10)
	server.Behave(func(*stun.Message, netip.Addr) [][]byte { asked <- true; return nil })
	ended := make(chan Answer)
	go func() { ended <- s.query(ctx, internet{}, s.Servers[0], netwatch.IPv4, netip.Addr{}) }()
	<-asked
	cancel()
	select {
	case a := <-ended:
		if !errors.Is(a.Err, context.Canceled) {
			t.Error(a.Err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
}

// The source address of an IPv6 question is not a temporary one.
func TestIPv6PrefersTheLastingAddress(t *testing.T) {
	server, err := stuntest.Listen("[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := settings(t, server).dial(t.Context(), internet{}, netip.Addr{}, netip.MustParseAddrPort(server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	controlErr := raw.Control(func(fd uintptr) {
		value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES)
	})
	if err != nil || controlErr != nil || value&preferPublic == 0 {
		t.Errorf("preferences %#x, %v, %v", value, err, controlErr)
	}
}

// Servers given by their address can be asked for one family alone.
func TestCheckFamilies(t *testing.T) {
	v4a, v4b, v6 := Server("192.0.2.1:3478"), Server("192.0.2.2:3478"), Server("[2001:db8::1]:3478")
	cases := []struct {
		servers  []Server
		families []netwatch.Family
		wrong    string
	}{
		{[]Server{v4a, v4b}, netwatch.Families, ""},
		{[]Server{v4a, v4b, v6}, netwatch.Families, "only 1 can be asked for ipv6"},
		{[]Server{v4a, v4b, v6, "stun.example.org:3478"}, netwatch.Families, ""},
		{[]Server{v4a, v4b}, []netwatch.Family{netwatch.IPv6}, "no server can be asked for ipv6"},
	}
	for _, c := range cases {
		s := newSTUN().(*STUN)
		s.Servers, s.Families = c.servers, c.families
		switch m := s.Check(); {
		case c.wrong == "" && len(m) > 0, c.wrong != "" &&
			(len(m) != 1 || m[0].Key != "families" || !strings.Contains(m[0].Text, c.wrong)):
			t.Errorf("%v: %+v", c.servers, m)
		}
	}
}

// A jump wakes whoever listens, and many jumps wake once; the watching ends with
// the context. What makes the kernel tell is shown by a lab test.
func TestClockIsWatchedUntilTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	jumps, err := clockJumps(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(jumps) != 0 || cap(jumps) != 1 {
		t.Errorf("%d of %d wakes without a jump", len(jumps), cap(jumps))
	}
	cancel() // goleak sees what goes on
	select {
	case <-jumps:
		t.Error("its end is taken for a jump")
	case <-time.After(100 * ms):
	}
}

// A server that is quick to say the old address must not hold it against those
// who are slower than the stagger.
func TestQuickServerDoesNotOutrunTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(second, 300*ms), honest(second, 300*ms), honest(first, 0))
		run(t, s, w, 35*time.Second, nil)
		if diff := cmp.Diff([]string{"203.0.113.5>198.51.100.7 by a, b"}, w.changes()); diff != "" {
			t.Error(diff)
		}
	})
}
