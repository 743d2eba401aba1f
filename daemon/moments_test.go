package daemon

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/history"
)

// past is what is in the history of a daemon.
func past(t *testing.T, d *Daemon) (all []netwatch.Entry) {
	t.Helper()
	page, err := d.history.Page(t.Context(), history.Query{}, history.Position{}, history.Position{})
	if err != nil || page.More || page.Damaged > 0 {
		t.Fatalf("more: %t, damaged: %d, %v", page.More, page.Damaged, err)
	}
	each := func(e netwatch.Entry) { all = append(all, e) }
	if _, err := history.Entries(bytes.NewReader(page.Lines), each); err != nil {
		t.Fatal(err)
	}
	return all
}

// addressIs emits that our address is another.
func addressIs(t *testing.T, d *Daemon, address string) netwatch.Entry {
	t.Helper()
	old := ""
	if known, is := d.store.Known()[netwatch.IPv4]; is {
		old = known.Address.String()
	}
	ev := netwatch.NewEvent(netwatch.IPChanged, "stun", map[string]string{
		"family": "ipv4", "old": old, "new": address, "by": "a, b",
	})
	if err := d.emit(ev); err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(past(t, d)) {
		if e.ID == ev.ID && e.Kind == netwatch.EntryEvent {
			return e
		}
	}
	t.Fatalf("the event is not in history: %+v", past(t, d))
	return netwatch.Entry{}
}

// By what a change was noticed is the first thing since the last confirmation that
// gave reason to look, if somebody looked because of it.
func TestNoticedBy(t *testing.T) {
	d, _ := quiet(t)
	defer d.rules.Drain(t.Context())
	if e := addressIs(t, d, "203.0.113.1"); e.Noticed != netwatch.BySTUN || !e.Moments.Confirmed.IsZero() {
		t.Errorf("the first: %+v", e)
	}
	emit := func(name string) {
		if err := d.emit(netwatch.NewEvent(name, "s", nil)); err != nil {
			t.Fatal(err)
		}
	}
	confirm := func() (at time.Time) {
		at = time.Now()
		d.confirm(netwatch.IPv4, at, []string{"a"}, netip.Addr{})
		return at
	}
	emit(netwatch.RouteChanged)
	d.reasons.look()
	at := confirm() // It was not because of that
	e := addressIs(t, d, "203.0.113.2")
	if e.Noticed != netwatch.BySTUN || !e.Moments.Confirmed.Equal(at) || e.After != "" {
		t.Errorf("without a reason: %+v of %+v", e, e.Moments)
	}
	confirm()
	emit(netwatch.RouterChanged)
	d.reasons.look()
	emit(netwatch.LinkChanged)
	e = addressIs(t, d, "203.0.113.3")
	if e.Noticed != netwatch.ByRouter || !e.Moments.Noticed.Before(e.Moments.Accepted) {
		t.Errorf("after the router: %+v of %+v", e, e.Moments)
	}
	confirm()
	emit(netwatch.FileChanged)
	if e := addressIs(t, d, "203.0.113.4"); e.Noticed != netwatch.BySTUN {
		t.Errorf("after what nobody looked for: %+v", e)
	}
}

// However much happens, few reasons are remembered.
func TestReasonsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reasons
		for range 10_000 {
			r.give(netwatch.ByFire)
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(r.all); n > int(reasonTime/time.Second) {
			t.Errorf("there are %d", n)
		}
	})
}

// An outage is in history when the second poll hears nobody, and when it is over; and a
// change after it says so.
func TestOutage(t *testing.T) {
	d, _ := quiet(t)
	defer d.rules.Drain(t.Context())
	outages := func() (all []string) {
		for _, e := range past(t, d) {
			if e.Kind == netwatch.EntryOutage {
				text := e.Fields["family"] + " " + e.Fields["address"]
				if e.Seconds > 0 {
					text += " over"
				}
				all = append(all, text)
			}
		}
		return all
	}
	d.doubt(netwatch.IPv6, false)
	d.doubt(netwatch.IPv6, false)
	if got := outages(); len(got) > 0 {
		t.Errorf("of a family that is not to be had here: %v", got)
	}
	addressIs(t, d, "203.0.113.1")
	d.doubt(netwatch.IPv4, false)
	d.confirm(netwatch.IPv4, time.Now(), []string{"a"}, netip.Addr{})
	d.doubt(netwatch.IPv4, false)
	d.doubt(netwatch.IPv4, true)
	if got := outages(); len(got) > 0 {
		t.Errorf("after one poll: %v", got)
	}
	for range 3 {
		d.doubt(netwatch.IPv4, false)
	}
	if e := addressIs(t, d, "203.0.113.2"); e.After != netwatch.AfterOutage {
		t.Errorf("the change after it: %+v", e)
	}
	if diff := cmp.Diff([]string{"ipv4 203.0.113.1", "ipv4 203.0.113.1 over"}, outages()); diff != "" {
		t.Error(diff)
	}
}

// A change that is found when netwatch starts was not seen at once.
func TestChangeWhileStopped(t *testing.T) {
	d, _ := quiet(t)
	defer d.rules.Drain(t.Context())
	addressIs(t, d, "203.0.113.1")
	d.since = time.Now() // As in the next process
	if e := addressIs(t, d, "203.0.113.2"); e.After != netwatch.AfterStop {
		t.Errorf("%+v", e)
	}
}
