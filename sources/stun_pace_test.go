package sources

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// polledAt runs a source for a while and returns when servers were asked.
func polledAt(t *testing.T, s *stunSource, w *world, span time.Duration, meanwhile func()) (at []time.Duration) {
	t.Helper()
	began, ask := time.Now(), s.views[0].ask
	for _, v := range s.views {
		v.ask = func(ctx context.Context, server Server, family netwatch.Family) Answer {
			w.mu.Lock()
			at = append(at, time.Since(began))
			w.mu.Unlock()
			return ask(ctx, server, family)
		}
	}
	run(t, s, w, span, meanwhile)
	return at
}

// A line that is down for a while is found within two seconds after it comes back,
// however long the pause between polls is; one that stays down is not asked for for ever.
func TestOutageEndsSoon(t *testing.T) {
	for _, outage := range []time.Duration{3 * time.Second, 20 * time.Second, 100 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{}
			w.know(first)
			var down atomic.Bool
			server := func() (netip.Addr, time.Duration, error) {
				if down.Load() {
					return dead()
				}
				return second, 20 * ms, nil
			}
			s := w.source(2, server, server, server)
			s.pace.every = 15 * time.Minute
			down.Store(true)
			run(t, s, w, 2*time.Second, func() {
				time.Sleep(outage)
				down.Store(false)
			})
			if len(w.events) != 1 {
				t.Errorf("after %s: %v", outage, w.changes())
			}
		})
	}
}

// A network that is not there at all is tried often for a while only.
func TestNoNetworkIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		unreachable := func() (netip.Addr, time.Duration, error) { return netip.Addr{}, 0, errSilent }
		s := w.source(1, unreachable)
		s.pace.every = time.Hour
		at := polledAt(t, s, w, 24*time.Hour, nil)
		if n := len(at); n > 200 {
			t.Errorf("%d questions in a day", n)
		}
		if last := at[len(at)-1] - at[len(at)-2]; last != time.Hour {
			t.Errorf("the last pause was %s", last)
		}
	})
}

// vouching is a router that vouches for an address until told otherwise.
func vouching(a netip.Addr) (vouched func(netip.Addr) <-chan struct{}, end func()) {
	lost := make(chan struct{})
	return func(asked netip.Addr) <-chan struct{} {
		select {
		case <-lost:
			return nil
		default:
		}
		if asked == a {
			return lost
		}
		return nil
	}, func() { close(lost) }
}

// While a router says what is believed, the servers are asked rarely, and again as soon
// as it no longer does. A pace that the user wrote is kept.
func TestRarePolls(t *testing.T) {
	for _, c := range []struct {
		name string
		says netip.Addr
		kept bool
		want int
	}{
		{"vouched for", first, false, 1 + 5 + 60},
		{"another address", second, false, 60 + 60},
		{"a pace of the user", first, true, 60 + 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{}
			w.know(first)
			s := w.source(1, honest(first, 0))
			s.pace = pace{every: 15 * time.Second, rare: !c.kept}
			vouched, end := vouching(c.says)
			s.env.Vouched = vouched
			at := polledAt(t, s, w, 15*time.Minute+time.Second, func() {
				time.Sleep(15 * time.Minute)
				end()
			})
			if n := len(at); n < c.want || n > c.want+3 {
				t.Errorf("%s: %d polls, want %d", c.name, n, c.want)
			}
		})
	}
}

// The poll that was left out is made up for at once.
func TestVouchingEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(1, honest(first, 0))
		s.pace = pace{every: 15 * time.Second, rare: true}
		vouched, end := vouching(first)
		s.env.Vouched = vouched
		at := polledAt(t, s, w, time.Second, func() {
			time.Sleep(75 * time.Second)
			end()
		})
		if len(at) != 2 || at[1] != 75*time.Second {
			t.Errorf("polls at %s", at)
		}
	})
}

// IPv6 is vouched for by the kernel alone, as long as the address is its own and packets
// go out from it.
func TestRarePollsOfIPv6(t *testing.T) {
	six := netip.MustParseAddr("2001:db8::7")
	for _, c := range []struct {
		name       string
		own, sends netip.Addr
		rare       bool
	}{
		{"its own", six, six, true},
		{"translated", netip.MustParseAddr("fd00::7"), six, false},
		{"another by now", six, netip.MustParseAddr("2001:db8::8"), false},
	} {
		w := &world{known: netwatch.Addresses{netwatch.IPv4: {Address: first}, netwatch.IPv6: {Address: six, Own: c.own}}}
		s := w.source(1, honest(first, 0))
		s.views = append(s.views, &view{family: netwatch.IPv6})
		s.own6 = func([]Asked) netip.Addr { return c.sends }
		s.env.Vouched, _ = vouching(first)
		if lost := s.vouched(); (lost != nil) != c.rare {
			t.Errorf("%s: vouched for is %t", c.name, lost != nil)
		}
	}
}

// An event says when its poll has heard both families.
func TestHeardIsWhenBothFamiliesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		s := w.source(1, honest(first, 20*ms))
		slow := s.views[0]
		six := &view{
			family: netwatch.IPv6, servers: slow.servers, agree: 1, every: slow.every, log: slow.log,
			failing: map[Server]bool{}, claims: map[Server]netip.Addr{}, asked: map[Server]Answer{},
			ask: func(_ context.Context, server Server, family netwatch.Family) Answer {
				<-time.After(80 * ms)
				return Answer{Server: server, Family: family, Err: errSilent}
			},
		}
		s.views = append(s.views, six)
		began := time.Now()
		var heard []time.Duration
		s.poll(t.Context(), func(ev netwatch.Event) error {
			context.AfterFunc(ev.Heard, func() { heard = append(heard, time.Since(began)) })
			return w.emit(ev)
		}, true, false)
		synctest.Wait()
		if len(heard) != 1 || heard[0] != 80*ms {
			t.Errorf("all was heard at %s", heard)
		}
	})
}

// A look that is in a hurry waits for none that began before, and whom that served is
// served all the same.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		var up atomic.Bool
		s := w.source(1, func() (netip.Addr, time.Duration, error) {
			if up.Load() {
				return second, 20 * ms, nil
			}
			return dead()
		})
		run(t, s, w, time.Second, func() {
			time.Sleep(5 * time.Second)
			probed := make(chan netwatch.Result, 1)
			go func() { probed <- s.Probe(t.Context()) }()
			time.Sleep(300 * ms)
			up.Store(true)
			began := time.Now()
			if r := s.Hurry(t.Context()); r.Outcome != netwatch.Changed || time.Since(began) != 20*ms {
				t.Errorf("%+v after %s", r, time.Since(began))
			}
			if r := <-probed; r.Err != nil || time.Since(began) != 20*ms {
				t.Errorf("who waited before: %+v after %s", r, time.Since(began))
			}
		})
	})
}

// A window ends sooner only where nobody waits for the poll who acts on it himself.
func TestWhoActsIsPartOfTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		probe  func(*stunSource, context.Context) netwatch.Result
		sooner bool
	}{
		"a poll of its own": {nil, true}, "a hint": {(*stunSource).Hurry, true}, "alone": {(*stunSource).Alone, true},
		"a rule goes on": {(*stunSource).Probe, false}, "by hand": {(*stunSource).Insist, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{}
			s := w.source(1, func() (netip.Addr, time.Duration, error) {
				if c.probe == nil || len(w.questions) > 1 {
					return second, 20 * ms, nil
				}
				return first, 20 * ms, nil
			})
			w.know(first)
			var sooner []bool
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- s.Run(ctx, func(ev netwatch.Event) error {
					sooner = append(sooner, ev.Heard != nil)
					return w.emit(ev)
				})
			}()
			time.Sleep(time.Second)
			if c.probe != nil {
				c.probe(s, ctx)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(sooner) != 1 || sooner[0] != c.sooner {
				t.Errorf("%s: %t", name, sooner)
			}
		})
	}
}
