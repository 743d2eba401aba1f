package sources

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netwatch"
)

// A line is what a source would believe of a line whose addresses are seen one after
// the other.
type line struct {
	damping
	believed netip.Addr
	changes  int
}

func (l *line) sees(a netip.Addr, at time.Time) {
	l.damping = l.see(a, at)
	if a == l.believed || l.believed.IsValid() && l.holds(a) {
		return
	}
	if l.believed.IsValid() {
		l.changes++
	}
	l.believed = a
}

// host is the n-th address of a line.
func host(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(n / 256), byte(n)}) }

// dawn is when these lines begin.
var dawn = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)

// TestDamping goes through lines: at each time an address, by a letter.
func TestDamping(t *testing.T) {
	flaps := "0s A, 35s B, 70s A, 105s B, 140s A, 175s B, 210s A, 245s B, 280s A, " +
		"315s B" // A comes back the 4th time at 280s
	cases := []struct {
		name, line, believed string
		changes              int
	}{
		{"one address", "0s A, 15s A, 24h A", "A", 0},
		{"two reconnects a night, and back", "0s A, 2h B, 4h A, 26h B, 28h A", "A", 4},
		{"two within minutes", "0s A, 60s B, 120s A, 180s B, 240s A", "A", 4},
		{"ever new ones", "0s A, 35s B, 70s C, 105s D, 140s E, 175s F, 210s G, 245s H, 280s I", "I", 8},
		{"two lines in turn", flaps, "B", 7},
		{"and for an hour more", flaps +
			", 20m A, 21m B, 25m A, 28m B, 32m A, 36m B, 40m A, 44m B, 48m A, 52m B, 56m A, 60m A", "B", 7},
		{"the other one for less than five minutes", flaps + ", 320s A, 619s A", "B", 7},
		{"and for five minutes", flaps + ", 320s A, 619s A, 620s A", "A", 8},
		{"the one that stands for five minutes, and the penalty stays", flaps + ", 615s B, 630s A", "B", 7},
		{"until the penalty is low", flaps + ", 40m A", "A", 8},
		{"a new address is none of them", flaps + ", 330s C", "C", 8},
		{"and one that comes back to it is", flaps + ", 330s C, 340s A, 350s C, 360s B", "C", 8},
		{"all is forgotten after an hour", flaps + ", 316s A, 4h C, 5h A, 5h1m C", "C", 10},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, letters := &line{}, strings.Fields("A B C D E F G H I")
			for _, step := range strings.Split(c.line, ", ") {
				at, letter, _ := strings.Cut(step, " ")
				after, err := time.ParseDuration(at)
				if err != nil {
					t.Fatal(err)
				}
				l.sees(host(strings.Index("ABCDEFGHI", letter)), dawn.Add(after))
			}
			for i, letter := range letters {
				if l.believed == host(i) && (letter != c.believed || l.changes != c.changes) {
					t.Errorf("%s is believed after %d changes, want %s after %d", letter, l.changes, c.believed, c.changes)
				}
			}
		})
	}
}

// What was not seen for an hour begins anew, whatever it had come to before.
func TestDampingForgets(t *testing.T) {
	for away, believed := range map[time.Duration]netip.Addr{memory: host(2), memory + time.Second: host(0)} {
		l, at := &line{}, dawn
		for i := range 1001 {
			at = dawn.Add(time.Duration(i) * 10 * time.Second)
			l.sees(host(i%2), at)
		}
		l.sees(host(2), at.Add(time.Second))
		l.sees(host(0), at.Add(away))
		if l.believed != believed {
			t.Errorf("after %s it is %s", away, l.believed)
		}
	}
}

// What is said of one that is held is when that ends at the earliest, and it does end
// then if all stays as it is.
func TestDampingReport(t *testing.T) {
	l := &line{}
	at := dawn
	for i := range 10 {
		at = dawn.Add(time.Duration(i) * 35 * time.Second)
		l.sees(host(i%2), at)
	}
	if _, held := l.report(host(7), at); !held {
		t.Error("nothing is held")
	}
	got, held := l.report(l.believed, at.Add(time.Minute))
	want := netwatch.Damped{
		Family: netwatch.IPv4, Held: host(1), Seen: host(0), Penalty: got.Penalty,
		Until: at.Add(steady),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || !held {
		t.Errorf("held %v: %s", held, diff)
	}
	if got.Penalty < heldFrom || got.Penalty > 5*comeback {
		t.Errorf("the penalty is %d", got.Penalty)
	}
	if _, held := l.report(l.believed, at.Add(memory)); held {
		t.Error("it is said of what is over")
	}
	if _, held := (damping{}).report(netip.Addr{}, at); held {
		t.Error("something is held where nothing is known")
	}
	low := damping{
		seen:  []sighting{{host(0), dawn, 3000, true}, {host(1), dawn, 0, false}},
		since: dawn.Add(29 * time.Minute),
	}
	if got, _ := low.report(host(1),
		dawn.Add(29*time.Minute)); !got.Until.Round(time.Second).Equal(dawn.Add(30 * time.Minute)) {
		t.Errorf("a penalty of 3000 is 750 at %v", got.Until)
	}
}

// Whatever a line does: what is new is believed at once; nothing is held before its
// third return; what is seen alone for five minutes is believed; and little is
// remembered.
func TestDampingOfAnyLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, at := &line{}, dawn
		returns, seen := map[netip.Addr]int{}, map[netip.Addr]bool{}
		var newest netip.Addr
		since := at
		for range rapid.IntRange(1, 200).Draw(t, "polls") {
			at = at.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "seconds")) * time.Second)
			a := host(rapid.IntRange(0, 99).Draw(t, "address") % rapid.SampledFrom([]int{2, 3, 100}).Draw(t, "of"))
			if a != newest {
				newest, since = a, at
				if seen[a] {
					returns[a]++
				}
			}
			before := seen[a]
			seen[a] = true
			l.sees(a, at)
			switch {
			case l.believed == a:
			case !before:
				t.Fatalf("%s is new, and held", a)
			case returns[a] < 3:
				t.Fatalf("%s came back %d times, and is held", a, returns[a])
			case at.Sub(since) >= steady:
				t.Fatalf("%s is held after %s", a, at.Sub(since))
			}
			if len(l.seen) > mostSightings {
				t.Fatalf("%d are remembered", len(l.seen))
			}
		}
	})
}

// Two lines in turn: some changes, and no more in a day. Slower than this the penalty
// never gets so high.
func TestDampingOfTwoInTurn(t *testing.T) {
	for pace := 10 * time.Second; pace <= 4*time.Minute; pace += 10 * time.Second {
		l := &line{}
		for i := range int(24 * time.Hour / pace) {
			l.sees(host(i%2), dawn.Add(time.Duration(i)*pace))
		}
		if most := 20; l.changes > most {
			t.Errorf("each %s: %d changes in a day", pace, l.changes)
		}
		if pace == 30*time.Second && l.changes > 8 {
			t.Errorf("each %s: %d changes in a day", pace, l.changes)
		}
	}
}

// swap has all servers say another address.
func (w *world) swap(a netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for server := range w.says {
		w.says[server] = honest(a, 0)
	}
}

// now is how many changes were told, and what is believed.
func (w *world) now() (changes int, believed netip.Addr) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.events), w.known[netwatch.IPv4].Address
}

// A source of a line that two uplinks share believes some changes and then holds, says
// so, confirms what stands, and lets go when one address has stayed for five minutes.
func TestSourceIsDamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(first, 0), honest(first, 0), honest(first, 0))
		run(t, s, w, 0, func() {
			for i := range 40 {
				w.swap([]netip.Addr{first, second}[i%2])
				time.Sleep(20 * time.Second)
			}
			n, held := w.now()
			if n != 7 {
				t.Errorf("%d changes in a quarter of an hour", n)
			}
			if d := s.Damped(); len(d) != 1 || d[0].Held != held || d[0].Seen == held {
				t.Errorf("held is %+v, and known %s", d, held)
			}
			other := map[netip.Addr]netip.Addr{first: second, second: first}
			w.swap(other[held])
			want := netwatch.Result{
				Outcome: netwatch.Unchanged,
				Detail:  fmt.Sprintf("ipv4 %s held while %s comes and goes", held, other[held]),
			}
			if r := s.Probe(t.Context()); r != want {
				t.Errorf("asked by a rule: %+v", r)
			}
			if r := s.Insist(t.Context()); r.Outcome != netwatch.Changed {
				t.Errorf("asked by hand: %+v", r)
			}
			if n, now := w.now(); n != 8 || now != other[held] {
				t.Errorf("%d changes, and %s is believed", n, now)
			}
			w.swap(held)
			time.Sleep(steady - 20*time.Second)
			if n, _ = w.now(); n != 8 {
				t.Errorf("%d changes before it was steady", n)
			}
			time.Sleep(40 * time.Second)
			if n, _ = w.now(); n != 9 || len(s.Damped()) != 0 {
				t.Errorf("%d changes when it was steady, and held %+v", n, s.Damped())
			}
		})
		for _, what := range []string{"is held", "no longer held"} {
			if n := strings.Count(w.log.String(), what); n != 1 {
				t.Errorf("that it %s is said %d times:\n%s", what, n, w.log.String())
			}
		}
	})
}

// Without damping each change is one.
func TestSourceIsNotDamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.know(first)
		s := w.source(2, honest(first, 0), honest(first, 0))
		s.views[0].damp = false
		run(t, s, w, 0, func() {
			for i := range 40 {
				w.swap([]netip.Addr{second, first}[i%2])
				time.Sleep(20 * time.Second)
			}
		})
		if n, d := len(w.events), s.Damped(); n != 40 || len(d) > 0 {
			t.Errorf("%d changes, held %+v", n, d)
		}
	})
}

// Whom a source asks is known by the address that answered, or by the one that is
// given; without any, there is the interface.
func TestAskedServers(t *testing.T) {
	s := newSTUN().(*STUN)
	s.Servers, s.Families, s.Interface = []Server{"stun.example.org:3478", "203.0.113.5:3478"}, netwatch.Families, "tun0"
	source := s.source("stun", Env{}, nil, nil)
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	want := []Asked{{Family: netwatch.IPv4, Interface: "tun0", Address: first}, {Family: netwatch.IPv6, Interface: "tun0"}}
	if diff := cmp.Diff(want, source.Asked(), same); diff != "" {
		t.Error(diff)
	}
	six := netip.MustParseAddr("2001:db8::53")
	source.views[1].asked["stun.example.org:3478"] = Answer{Asked: netip.AddrPortFrom(six, 3478)}
	want[1].Address = six
	if diff := cmp.Diff(want, source.Asked(), same); diff != "" {
		t.Error(diff)
	}
}
