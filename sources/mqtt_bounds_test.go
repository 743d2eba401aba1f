package sources

import (
	"context"
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

	"github.com/rs/zerolog"

	"netwatch"
)

// logging is a listener with what it logs.
func logging(t *testing.T) (*listener, *logBook) {
	l, book := newListener(t, map[string]string{}), &logBook{}
	l.env.Log = zerolog.New(book)
	l.env.Known = func() netwatch.Addresses { return netwatch.Addresses{netwatch.IPv4: {Address: host(1)}} }
	return l, book
}

// many are so many machines that are heard, of which the first ones say an address.
func (l *listener) many(n int) {
	for i := range n {
		now := stands(1, func(b *bulletin) { b.Addresses = netwatch.Addresses{netwatch.IPv4: {Address: host(2 + i)}} })
		l.peers.by[fmt.Sprintf("m%d", i)] = &peer{heard: true, now: now}
	}
}

// drained says whether somebody was woken, once.
func drained(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// What was seen counts for a minute, and an address is asked about once it stands.
func TestOutsideAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		since := time.Now()
		l.env.Known = func() netwatch.Addresses { return netwatch.Addresses{netwatch.IPv4: {Address: host(1), Since: since}} }
		if err := l.young(host(2)); err == nil || !strings.Contains(err.Error(), "not our public address any more") {
			t.Errorf("of another's it says %v", err)
		}
		time.Sleep(standTime - time.Second)
		if err := l.young(host(1)); err == nil ||
			!strings.Contains(err.Error(), "has stood for 29 s, others ask after 30 s") {
			t.Errorf("too early it says %v", err)
		}
		time.Sleep(time.Second)
		if err := l.young(host(1)); err != nil {
			t.Errorf("in time it says %v", err)
		}
		why := errors.New("why")
		l.asking.remember("a", netwatch.Sighting{By: "x"})
		time.Sleep(againTime - 1)
		if got := l.asking.recall("a", why); got.By != "x, 60 s ago" {
			t.Errorf("within a minute it is %+v", got)
		}
		l.asking.remember("b", netwatch.Sighting{By: "y"})
		if time.Sleep(time.Nanosecond); !errors.Is(l.asking.recall("a", why).Why, why) {
			t.Error("after a minute it is still known")
		}
		if l.asking.remember("c", netwatch.Sighting{}); len(l.asking.seen) != 1 || l.asking.seen["b"].By != "y" {
			t.Errorf("kept is %+v", l.asking.seen)
		}
		if got := (&inquiry{}).result(); !strings.Contains(got.Why.Error(), "nobody answered") {
			t.Errorf("of nobody it says %v", got.Why)
		}
	})
}

// Those are asked who serve us and were not asked within a minute, in any order; why nobody
// is, is said.
func TestCandidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.many(maxAsked + 2)
		wants := func(want string) {
			t.Helper()
			if all, err := l.asking.candidates(host(1)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, %v, want %s", all, err, want)
			}
		}
		wants(fmt.Sprintf("no machine elsewhere (%d) serves self", maxAsked+2))
		l.peers.by["m0"].now.Serves = []string{"self"}
		l.asking.last["m0"] = time.Now()
		time.Sleep(againTime - time.Second)
		wants("m0 was asked 60 s ago, and may be once a minute")
		time.Sleep(time.Second)
		if all, err := l.asking.candidates(host(1)); err != nil || !slices.Equal(all, []string{"m0"}) {
			t.Errorf("%v, %v", all, err)
		}
		first := map[string]bool{}
		for _, one := range l.peers.by {
			one.now.Serves = []string{"self"}
		}
		for range 200 {
			all, err := l.asking.candidates(host(1))
			if err != nil || len(all) != maxAsked {
				t.Fatalf("%v, %v", all, err)
			}
			first[all[0]] = true
		}
		if len(first) < maxAsked {
			t.Errorf("the first ones are always of %v", slices.Sorted(maps.Keys(first)))
		}
		clear(l.peers.by)
		checkFair(t, l)
		all := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r"}
		sorted := slices.Clone(all)
		if shuffle(all); slices.Equal(all, sorted) || !slices.Equal(slices.Sorted(slices.Values(all)), sorted) {
			t.Errorf("they are %v", all)
		}
	})
}

// checkFair checks that of two machines each is the first to be asked about as often.
func checkFair(t *testing.T, l *listener) {
	t.Helper()
	l.many(2)
	times := map[string]int{}
	for _, one := range l.peers.by {
		one.now.Serves = []string{"self"}
	}
	for range 400 {
		all, err := l.asking.candidates(host(1))
		if err != nil {
			t.Fatal(err)
		}
		times[all[0]]++
	}
	if times["m0"] < 100 || times["m1"] < 100 {
		t.Errorf("of 400 times they are first %v", times)
	}
}

// Who would not look is passed over for the next one, at once.
func TestBusyIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, map[string]string{"turn": "203.0.113.7", "a": "198.51.100.1", "b": "198.51.100.2"})
		f.say(standTime)
		f.all["a"].cannot = errors.New("no way there")
		f.run(func() {
			q := &inquiry{
				asking: f.all["turn"].asking, place: at("203.0.113.7", 3478), left: []string{"a", "b"},
				got: make(chan *asked, maxAsked),
			}
			began := time.Now()
			q.run(t.Context())
			if got := why(q.result()); got != "b{[ok] ok}" || time.Since(began) > 0 {
				t.Errorf("%s is seen after %s", got, time.Since(began))
			}
		})
	})
}

// What machines say in a row is read together, as it is to be told of many at once: of new
// ones within a tenth of a second, and of others within a hundredth.
func TestReadTogether(t *testing.T) {
	for name, c := range map[string]struct {
		known bool
		most  int
	}{"new ones": {false, 3}, "known ones": {true, 12}} {
		synctest.Test(t, func(t *testing.T) {
			l, _ := logging(t)
			times := map[time.Duration]bool{}
			var lock sync.Mutex
			note := func() error {
				lock.Lock()
				defer lock.Unlock()
				times[time.Since(l.began)] = true
				return nil
			}
			l.env.See = func(string, string, string) error { return note() }
			l.peers.env.See = l.env.See
			if l.many(100); !c.known {
				clear(l.peers.by)
			}
			for _, one := range l.peers.by {
				one.known, one.seen = true, one.now
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				l.peers.run(ctx, func(netwatch.Event) error { return note() })
			}()
			for n := range 100 {
				l.hears(fmt.Sprintf("m%d", n), stands(2, func(b *bulletin) {
					b.Addresses[netwatch.IPv4] = netwatch.Address{Address: host(200)}
				}), ms)
			}
			<-time.After(time.Second)
			cancel()
			<-ended
			if len(times) == 0 || len(times) > c.most {
				t.Errorf("%s are told of %d times", name, len(times))
			}
		})
	}
}

// Of what we hand on, half of what a message may be is kept to the byte, and of what a stranger
// says all that the state may have.
func TestBulletinsAtTheirBounds(t *testing.T) {
	padded := func(size int) bulletin {
		w, long := bulletin{Number: 9, Connect: 1}, strings.Repeat("x", maxText)
		for n := 0; len(w.text()) < size-1800; n++ {
			w.Told = append(w.Told, handed{Number: 1, Event: fmt.Sprintf("e%d", n), ID: long, Old: long, New: long, Family: "x"})
		}
		for i := range w.Told {
			w.Told[i].Family += long[:min(size-len(w.text()), maxText-1)]
		}
		return w
	}
	for size, all := range map[int]bool{maxBulletin / 2: true, maxBulletin/2 + 1: false} {
		w := padded(size)
		last := w.Told[len(w.Told)-1]
		if got := w.hand(last); len(w.text()) != size || (len(got.Told) == len(w.Told)) != all {
			t.Errorf("of %d bytes %d of %d are handed on", len(w.text()), len(got.Told), len(w.Told))
		}
	}
	for size, all := range map[int]bool{maxBulletin - ours: true, maxBulletin - ours + 1: false} {
		w := padded(size)
		got, err := parseBulletin(w.text())
		if err != nil || len(w.text()) != size || (len(got.Told) == len(w.Told)) != all {
			t.Errorf("of %d bytes %d of %d are taken: %v", len(w.text()), len(got.Told), len(w.Told), err)
		}
	}
}

// Of what a machine that is served asks, the newest is kept, and no more of it than tells
// that it is too much; why it is not served is told once.
func TestServesAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, book := logging(t)
		s := l.serving
		if text := l.Serves(); text != "" {
			t.Errorf("of nobody it says %q", text)
		}
		l.settings.Serve, l.env.Outside = []PeerName{"a", "b"}, new(member).look
		for size, want := range map[int]int{maxAsk: maxAsk, maxAsk + 9: maxAsk + 1} {
			if s.deliver("a", make([]byte, size)); len(s.inbox["a"]) != want {
				t.Errorf("of %d bytes it keeps %d", size, len(s.inbox["a"]))
			}
		}
		for range 2 {
			s.take(t.Context(), "a", []byte("x"))()
		}
		if lines := book.lines(); len(lines) != 1 || !strings.Contains(lines[0], "it is not understood") {
			t.Errorf("it logs %q", lines)
		}
		if text := l.Serves(); !strings.HasPrefix(text, "serves a, b; a was not served at ") {
			t.Errorf("it says %q", text)
		}
		s.refuse("a", errors.New("why"))
		s.did("a", netwatch.Seen{})
		s.refuse("a", errors.New("why"))
		s.refuse("a", errors.New("why"))
		if lines := book.lines(); len(lines) != 4 || !strings.Contains(lines[2], "looked at it from outside: not all") {
			t.Errorf("it logs %q", lines)
		}
		for n := range maxPeers - 2 {
			s.refused[fmt.Sprint(n)] = "why"
		}
		for n, host := range []string{"last", "more", "a"} {
			before := len(book.lines())
			if s.refuse(host, errors.New("another")); (len(book.lines()) > before) != (n != 1) {
				t.Errorf("of %s it logs %d lines", host, len(book.lines())-before)
			}
		}
	})
}

// A machine may ask once a minute, about an address that it has said for half a minute and
// ports from 1024 on.
func TestAdmitsAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.serving.networks = func() []netip.Prefix { return nil }
		there := netip.MustParseAddr("198.51.100.7")
		stood := standing{}.after(netwatch.Addresses{netwatch.IPv4: {Address: there}}, time.Now())
		l.peers.by["a"] = &peer{heard: true, now: stands(1, func(b *bulletin) { b.Stood = stood })}
		ask := func(id string, port uint16) error {
			ways := []netwatch.Way{{Over: "udp", Port: port}}
			return l.serving.admit("a", request{id, netwatch.Place{Address: there, Ways: ways}})
		}
		wants := func(err error, want string) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("it says %v, want %s", err, want)
			}
		}
		time.Sleep(20 * time.Second)
		wants(ask("1", leastPort), "it has said 198.51.100.7 for 20 s, and 30 are waited for")
		time.Sleep(askPause - 1)
		wants(ask("2", leastPort), "it asked 59 s ago, and may once a minute")
		time.Sleep(time.Nanosecond)
		wants(ask("3", leastPort-1), "a port below 1024")
		time.Sleep(askPause)
		if err := ask("4", leastPort); err != nil {
			t.Error(err)
		}
	})
}

// There are so many machines and no more, of each of which as much is read as may be.
func TestPeersAtTheirBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		p := l.peers
		l.many(maxPeers - 2)
		p.deliver("x", make([]byte, maxBulletin))
		p.deliver("y", make([]byte, maxBulletin+9))
		p.deliver("z", nil)
		p.deliver("m1", []byte("known"))
		if len(p.inbox["x"]) != maxBulletin || len(p.inbox["y"]) != maxBulletin+1 || len(p.inbox) != 3 ||
			p.inbox["m1"] == nil {
			t.Errorf("it keeps %d and %d bytes, of %d", len(p.inbox["x"]), len(p.inbox["y"]), len(p.inbox))
		}
		text := stands(2, nil).text()
		for _, host := range []string{"x", "y", "z"} {
			p.read(host, text, p.connection)
		}
		if p.read("m1", text, p.connection); p.count() != maxPeers || p.by["z"] != nil || p.by["m1"].now.Number != 2 {
			t.Errorf("there are %d, and of m1 it has %+v", p.count(), p.by["m1"].now)
		}
		if p.read("m1", stands(3, nil).text(), p.connection+1); p.by["m1"].now.Number != 2 {
			t.Error("what came over another connection counts")
		}
		for n := range maxPeers + 1 {
			l.state[netwatch.PeerChanged+" "+p.key(fmt.Sprintf("s%d", n))] = string(text)
		}
		clear(p.by)
		if p.recall(); p.count() != maxPeers {
			t.Errorf("of the state it takes %d", p.count())
		}
		with := stands(1, nil).with(netwatch.IPv4, stands(2, func(b *bulletin) {
			b.Addresses = netwatch.Addresses{netwatch.IPv4: {Address: host(1)}}
		}))
		with = with.with(netwatch.IPv6, with)
		if len(with.Addresses) != 2 || len(with.Stood) != 2 || with.Addresses[netwatch.IPv4].Address != host(1) {
			t.Errorf("with both families it is %+v", with)
		}
	})
}

// What is told next of a machine is told in time, and what is not to be told is not waited for.
func TestNextOfAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		p, now := l.peers, time.Now()
		said := stands(2, nil)
		lost := stands(2, func(b *bulletin) { b.Lost = true })
		for name, c := range map[string]struct {
			peer  peer
			tells bool
			wait  time.Duration
		}{
			"unheard":           {peer{known: true, now: said}, false, -1},
			"nothing new":       {peer{known: true, heard: true, seen: said, now: said}, false, -1},
			"not yet":           {peer{known: true, heard: true, seen: said, now: lost, due: now.Add(1)}, false, 1},
			"gone for a moment": {peer{known: true, heard: true, seen: said, now: lost, since: now.Add(1 - goneTime)}, false, 1},
			"gone": {
				peer{known: true, heard: true, seen: said, now: lost, due: now, since: now.Add(-goneTime)}, true, 0,
			},
			"forgotten":         {peer{known: true, forgotten: true, met: now.Add(-peerPause)}, true, 0},
			"forgotten at once": {peer{known: true, forgotten: true, met: now.Add(1 - peerPause)}, false, 1},
		} {
			p.by["a"] = &c.peer
			if tell, wait := p.next("a", l.emit); (tell != nil) != c.tells || wait != c.wait {
				t.Errorf("%s: it tells %v, after %s", name, tell != nil, wait)
			}
		}
		for _, c := range []struct {
			again, wait, want time.Duration
			open              bool
		}{{-1, 5, 5, false}, {0, 5, 0, true}, {7, 5, 5, true}, {7, -1, 7, true}, {7, 0, 0, true}} {
			p.open["a"] = true
			if got := p.later("a", c.again, c.wait); got != c.want || p.open["a"] != c.open {
				t.Errorf("again in %d and another in %d: %d, %v", c.again, c.wait, got, p.open)
			}
		}
	})
}

// After a flood all is asked for once more, and within a minute also while it lasts.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		p := l.peers
		if wait := p.calm(); wait != -1 || drained(l.up) {
			t.Errorf("without one it looks again in %s", wait)
		}
		began := time.Now()
		for n := 0; time.Since(began) <= askAnyway; n++ {
			for range 2 * keptBurst {
				p.arrived(false)
			}
			wait, all := p.calm(), time.Since(began) == askAnyway
			if asked := drained(l.up); asked != all || (wait == time.Second) == all {
				t.Errorf("after %s it asks: %v, and looks again in %s", time.Since(began), asked, wait)
			}
			time.Sleep(time.Second)
		}
		if p.calm() != -1 || drained(l.up) {
			t.Error("it asks again though nothing came")
		}
		p.flooded.Store(true)
		time.Sleep(time.Minute)
		if p.calm() != -1 || !drained(l.up) || p.flooded.Load() {
			t.Error("it does not ask when it is over")
		}
	})
}

// What a machine says that is none is told once, again when it has said something right
// meanwhile, and of so many at most.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, book := logging(t)
		wrong := errors.New("nonsense")
		for n, err := range []error{wrong, wrong, nil, wrong} {
			time.Sleep(complaintPause)
			l.peers.complain("a", err)
			if want := []int{1, 1, 1, 2}[n]; len(book.lines()) != want || !strings.Contains(book.lines()[0], "was dropped") {
				t.Errorf("after the %d. there are %q", n+1, book.lines())
			}
		}
		for n := range maxPeers {
			l.peers.complain(fmt.Sprint(n), wrong)
		}
		if n := len(l.peers.wrong); n != maxPeers {
			t.Errorf("it keeps %d", n)
		}
		before := len(book.lines())
		l.trouble(&l.writing, wrong)
		time.Sleep(complaintPause - 1)
		l.trouble(&l.writing, errors.New("another"))
		if n := len(book.lines()) - before; n != 1 {
			t.Errorf("within a minute it logs %d lines", n)
		}
		time.Sleep(time.Nanosecond)
		l.trouble(&l.writing, errors.New("a third"))
		if n := len(book.lines()) - before; n != 2 {
			t.Errorf("after a minute it logs %d lines", n)
		}
	})
}

// What comes back of what we said is heard in time, and something older of us has nothing be
// said.
func TestEchoAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		l.own = bulletin{Number: 7, Connect: 7, Told: []handed{{Number: 7, Event: "x"}}}
		for name, c := range map[string]struct {
			says  bulletin
			again bool
		}{
			"the same":         {bulletin{Number: 7}, false},
			"our will":         {bulletin{Number: 7, Lost: true}, true},
			"the most":         {bulletin{Number: maxNumber / 2}, true},
			"more than may be": {bulletin{Number: maxNumber/2 + 1}, false},
		} {
			time.Sleep(peerPause)
			l.own.Number, l.own.Told[0].Number = 7, 7
			if l.echo(c.says); drained(l.changed) != c.again {
				t.Errorf("%s: it is said again: %v", name, !c.again)
			}
			if told := l.own.Told[0].Number; (told != 7) != (c.says.Number == maxNumber/2) {
				t.Errorf("%s: what was handed on has number %d", name, told)
			}
		}
		time.Sleep(peerPause)
		l.sayAgain()
		drained(l.changed)
		if l.sayAgain(); drained(l.changed) {
			t.Error("it is said twice at once")
		}
		time.Sleep(peerPause)
		if synctest.Wait(); !drained(l.changed) {
			t.Error("it is not said again")
		}
		if l.Moved(); !drained(l.changed) {
			t.Error("what moved is not said")
		}
		l.sayNow([]byte("x"))
		back := l.back
		time.Sleep(l.patience() - 1)
		if wait := l.listens(); wait != 1 {
			t.Errorf("it looks again in %s", wait)
		}
		if time.Sleep(time.Nanosecond); l.listens() != -1 || l.deaf == nil {
			t.Errorf("in time it hears nothing: %v", l.deaf)
		}
		l.witness(l.topic(), []byte("x"))
		if _, open := <-back; open || l.deaf != nil || l.listens() != 0 {
			t.Errorf("it has come back, and it is %v", l.deaf)
		}
	})
}

// A broker that answers in time is not slow.
func TestAnsweredAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logging(t)
		for ago, want := range map[time.Duration]int{brokerTime - 1: 0, brokerTime: 3} {
			l.slow = 3
			if l.answered(brokerRequest{asked: time.Now().Add(-ago)}); l.slow != want {
				t.Errorf("after %s it was slow %d times", ago, l.slow)
			}
		}
	})
}
