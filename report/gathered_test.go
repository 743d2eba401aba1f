package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// gathered is a report of two days with these entries.
func gathered(entries ...netwatch.Entry) Report {
	r := NewReckoner(at(0, 0), at(2, 0))
	for _, e := range entries {
		r.Add(e)
	}
	return r.Report("", "", nil)
}

func TestPeers(t *testing.T) {
	heard := func(at time.Time, event, peer, told string) netwatch.Entry {
		return netwatch.Entry{
			Time: at, Kind: netwatch.EntryEvent, Event: event, Fields: map[string]string{"peer": peer, "told": told},
		}
	}
	r := gathered(
		heard(at(0, 10), netwatch.PeerChanged, "b", netwatch.IPChanged),
		heard(at(0, 20), netwatch.PeerChanged, "b", netwatch.RouteChanged),
		heard(at(0, 30), netwatch.PeerLost, "b", ""), heard(at(0, 40), netwatch.PeerLost, "b", ""),
		heard(at(0, 50), netwatch.PeerBack, "b", ""), heard(at(1, 23*60), netwatch.PeerLost, "a", ""),
		heard(at(1, 0), "other", "c", ""), heard(at(1, 0), netwatch.PeerBack, "", ""),
	)
	want := []Peer{
		{Name: "a", Lost: 1, Gone: true, Away: 3600, Last: at(1, 23*60)},
		{Name: "b", Changes: 1, Told: 1, Lost: 2, Away: 1200, Last: at(0, 50)},
	}
	if diff := cmp.Diff(want, r.Peers); diff != "" {
		t.Error(diff)
	}
}

// TestFailures holds that the same failure is told once, by its newest words, and whether
// its rule has succeeded since.
func TestFailures(t *testing.T) {
	step := func(at time.Time, rule, text string) netwatch.Entry {
		return netwatch.Entry{
			Time: at, Kind: netwatch.EntryStep, Rule: rule, Step: "restart x.service", Outcome: netwatch.Failed, Error: text,
			Hint: "look",
		}
	}
	run := func(at time.Time, rule, step string, as netwatch.Outcome) netwatch.Entry {
		return netwatch.Entry{
			Time: at, Kind: netwatch.EntryRun, Rule: rule, Step: step, Outcome: as, Error: "as the step says",
		}
	}
	r := gathered(
		step(at(0, 1), "a", "job 17 failed"), run(at(0, 1), "a", "restart x.service", netwatch.Failed),
		step(at(0, 2), "a", "job 9100 failed"), step(at(0, 3), "b", "job 1 failed"), run(at(0, 4), "a", "", netwatch.Changed),
		run(at(0, 5), "c", "", netwatch.Failed), netwatch.Entry{Time: at(0, 6), Kind: netwatch.EntryNote, Detail: "well"},
		netwatch.Entry{Time: at(0, 7), Kind: netwatch.EntryNote, Source: "stun", Error: "nobody answers"},
	)
	want := []Failure{
		{Source: "stun", Error: "nobody answers", Times: 1, First: at(0, 7), Last: at(0, 7)},
		{Rule: "c", Error: "as the step says", Times: 1, First: at(0, 5), Last: at(0, 5)},
		{
			Rule: "b", Step: "restart x.service", Error: "job 1 failed", Hint: "look", Times: 1,
			First: at(0, 3), Last: at(0, 3),
		},
		{
			Rule: "a", Step: "restart x.service", Error: "job 9100 failed", Hint: "look", Times: 2,
			First: at(0, 1), Last: at(0, 2), Succeeded: true,
		},
	}
	if diff := cmp.Diff(want, r.Failures); diff != "" {
		t.Error(diff)
	}
}

// TestKnownFrom holds that a report says since when something is known: of the address,
// which is kept for longer, and of the rest.
func TestKnownFrom(t *testing.T) {
	note := netwatch.Entry{Time: at(1, 0), Kind: netwatch.EntryNote}
	before, first, later := changeAt(at(-1, 0), "198.51.100.1", ""), changeAt(at(0, 60), "198.51.100.2", ""),
		changeAt(at(1, 60), "198.51.100.3", "")
	for name, c := range map[string]struct {
		all, about []netwatch.Entry
		from, rest time.Time
	}{
		"nothing":         {},
		"one":             {[]netwatch.Entry{note}, nil, at(1, 0), time.Time{}},
		"address before":  {[]netwatch.Entry{note}, []netwatch.Entry{before}, at(0, 0), time.Time{}},
		"address since":   {[]netwatch.Entry{first}, []netwatch.Entry{first}, at(0, 60), time.Time{}},
		"others are gone": {[]netwatch.Entry{note, later}, []netwatch.Entry{first, later}, at(0, 60), at(1, 0)},
		"all are gone":    {nil, []netwatch.Entry{first}, at(0, 60), at(2, 0)},
	} {
		r := NewReckoner(at(0, 0), at(2, 0))
		for _, e := range c.all {
			r.Add(e)
		}
		for _, e := range c.about {
			r.AddAddress(e)
		}
		if got := r.Report("", "", nil); !got.From.Equal(c.from) || !got.RestFrom.Equal(c.rest) {
			t.Errorf("%s: from %s, the rest from %s", name, got.From, got.RestFrom)
		}
	}
}

// What is said of a machine is what was heard of it: what it told as well, and not that it
// is there, which nobody asked.
func TestPeersAreSaid(t *testing.T) {
	heard := func(at time.Time, event, told string) netwatch.Entry {
		return netwatch.Entry{
			Time: at, Kind: netwatch.EntryEvent, Event: event, Fields: map[string]string{"peer": "gateway", "told": told},
		}
	}
	r := gathered(
		heard(at(0, 10), netwatch.PeerChanged, netwatch.RouteChanged),
		heard(at(0, 20), netwatch.PeerChanged, netwatch.Started),
		heard(at(0, 30), netwatch.PeerLost, ""), heard(at(0, 40), netwatch.PeerBack, ""),
	)
	for language, want := range map[Language]string{
		{}:             "0 changes of its address; 2 other things that it told; gone 1 time, for 10 min in all.",
		{french: true}: "0 changement de son adresse ; 2 autres choses annoncées ; absente 1 fois, 10 min en tout.",
	} {
		s := teller{r, language, mostRows}.peers()
		if got := s.Items[0].Lines; got[0] != want || len(got) != 2 || strings.Count(got[1], ".") != 1 {
			t.Errorf("said: %q; wanted: %s", got, want)
		}
	}
}
