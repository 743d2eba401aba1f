package hooks

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
	"netwatch/state"
)

// believed has the state know both families, which servers say.
func (b *bench) believed(t *testing.T) {
	t.Helper()
	err := b.store.Update(func(s *state.State) {
		s.Believe(netwatch.Address{Address: netip.MustParseAddr("203.0.113.4")})
		s.Believe(netwatch.Address{Address: netip.MustParseAddr("2001:db8::4")})
	})
	if err != nil {
		t.Fatal(err)
	}
	b.said(netwatch.IPv4)
	b.said(netwatch.IPv6)
}

// said is that servers say the known address of a family again.
func (b *bench) said(f netwatch.Family) {
	b.store.Confirm(f, time.Now(), []string{"s"}, netip.Addr{})
	b.Confirmed(f)
}

// acts is a gate that notes which families it acted on.
func (b *bench) acts() do {
	return func(_ context.Context, job netwatch.Job) netwatch.Result {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.log = append(b.log, fmt.Sprint(slices.Sorted(maps.Keys(job.Confirmed))))
		return netwatch.Result{Outcome: netwatch.Unchanged}
	}
}

// none is nothing that is done.
var none = []string{}

// A rule that acts while nobody says our address of one family leaves that out. It acts
// again when servers say it again, although it is the same: no event tells of that. It
// does so once, also if netwatch was killed meanwhile.
func TestFamilyThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for range 2 {
			b := open(t, dir)
			b.Swap(NewTable([]*Rule{rule(gate(b.acts()))}))
			b.believed(t)
			<-time.After(time.Second) // What is left of the life before
			b.store.Doubt(netwatch.IPv4)
			b.accept(t)
			expect(t, b.after(time.Second), "[ipv6]", "gate: unchanged", "r ended: unchanged")
			b.said(netwatch.IPv6)
			expect(t, slices.Clip(b.after(time.Second)), none...)
			b.close(t)
			b = open(t, dir)
			b.Swap(NewTable([]*Rule{rule(gate(b.acts()))}))
			var told []string
			b.report = func(e netwatch.Entry) {
				b.entries(e)
				if e.Kind == netwatch.EntryEvent {
					told = append(told, e.Event+" "+e.Fields["new"])
				}
			}
			b.said(netwatch.IPv4)
			if s := b.store.Get(); len(s.Runs["r"].Events) != 1 || len(s.Left) != 0 {
				t.Errorf("a crash would leave %+v, and left out %v", s.Runs, s.Left)
			}
			expect(t, told, "ip-changed 203.0.113.4")
			expect(t, b.after(time.Second), "[ipv4]", "gate: unchanged", "r ended: unchanged")
			b.said(netwatch.IPv4)
			expect(t, slices.Clip(b.after(time.Second)), none...)
			b.close(t)
		}
	})
}

// Which families a rule left out is written when that is news, whatever other families do,
// and only then.
func TestLeftIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir(), rule(plain(result(netwatch.Unchanged))))
		defer b.close(t)
		b.believed(t)
		four, six := b.store.Known(), b.store.Known()
		delete(four, netwatch.IPv6)
		delete(six, netwatch.IPv4)
		l := b.lanes["r"]
		for acted, want := range map[netwatch.Family]netwatch.Addresses{netwatch.IPv4: six, netwatch.IPv6: four} {
			for n := range 2 {
				before := b.store.Get()
				l.left(l.rule, want)
				after := b.store.Get()
				if left := after.Left; len(left) != 1 || !slices.Equal(left[acted], []string{"r"}) {
					t.Errorf("left out is %v", left)
				}
				if same := before == after; same != (n == 1) {
					t.Errorf("the %d. time it is written: %v", n+1, !same)
				}
			}
		}
	})
}
