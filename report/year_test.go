package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"netwatch"
	"netwatch/history/historytest"
)

// paris has summer time.
var paris = sync.OnceValue(func() *time.Location {
	place, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err) // Tests need zoneinfo
	}
	return place
})

// begin and end are those of the made-up year, at a place without summer time.
func begin() time.Time { return historytest.Begin.In(time.FixedZone("CET", 3600)) }
func end() time.Time   { return begin().AddDate(0, 0, historytest.Days) }

// year is the made-up year of history, with what a line has beside that: IPv6, short
// outages, proofs by day that sometimes fail, and other machines.
var year = sync.OnceValue(func() []netwatch.Entry {
	all := slices.Concat(historytest.Year(), sixes(), shortOutages(), dailyProofs(), others())
	slices.SortStableFunc(all, func(a, b netwatch.Entry) int { return a.Time.Compare(b.Time) })
	return all
})

// sixes are changes of the other family, and the runs because of them.
func sixes() (all []netwatch.Entry) {
	for n := range 12 {
		at := historytest.Begin.AddDate(0, n, 2).Add(4*time.Hour + 3*time.Minute)
		e := changeAt(at, fmt.Sprintf("2001:db8:%x::10", 0x1000+n*37), netwatch.BySTUN)
		all = append(all, e)
		if n > 0 {
			e.Kind, e.Rule, e.Outcome, e.Fields = netwatch.EntryRun, "coturn", netwatch.Changed, nil
			e.Time, e.Wrong = at.Add(time.Second), &netwatch.Wrong{Least: 1.1, Most: 1.1 + float64(n*n)}
			all = append(all, e)
		}
	}
	return all
}

// shortOutages are some of both families, and one that is that of the year in the other.
func shortOutages() (all []netwatch.Entry) {
	for _, family := range netwatch.Families {
		for n := range 9 {
			at := historytest.Begin.AddDate(0, 0, 11+37*n).Add(time.Duration(7*n) * time.Hour)
			all = append(all, outageAt(at, family, 0),
				outageAt(at.Add(time.Duration(1+n*n)*time.Minute), family, time.Duration(1+n*n)*time.Minute))
		}
	}
	return append(all, outageAt(historytest.Outage, netwatch.IPv6, 0),
		outageAt(historytest.Outage.Add(historytest.OutageTime), netwatch.IPv6, historytest.OutageTime))
}

// dailyProofs are proofs although nothing happened.
func dailyProofs() (all []netwatch.Entry) {
	for day := range historytest.Days {
		e := netwatch.Entry{
			Time: historytest.Begin.AddDate(0, 0, day).Add(12 * time.Hour), Kind: netwatch.EntryStep, Event: "due",
			Rule: "daily", Step: "verify tls turn.example.org:5349", Outcome: netwatch.Unchanged,
			Detail: "good until 2027-01-01",
		}
		switch {
		case day%120 == 70:
			e.Outcome, e.Detail = netwatch.Failed, ""
			e.Error = "verifying the certificate of turn.example.org:5349: it is good until tomorrow alone"
			e.Hint = "run `certbot renew` and see what it says"
		case day%90 == 10:
			e.Outcome, e.Detail = netwatch.Skipped, "unknown: nobody answered"
		}
		all = append(all, e)
		if e.Step, e.Kind = "", netwatch.EntryRun; e.Outcome != netwatch.Failed {
			all = append(all, e)
		}
	}
	return all
}

// others are what was heard of two other machines.
func others() (all []netwatch.Entry) {
	heard := func(at time.Time, event, peer, told string) {
		all = append(all, netwatch.Entry{
			Time: at, Kind: netwatch.EntryEvent, Event: event, Source: "mqtt",
			Fields: map[string]string{"peer": peer, "told": told, "family": "ipv4", "new": "192.0.2.7"},
		})
	}
	for n := range 40 {
		heard(historytest.Begin.AddDate(0, 0, 9*n), netwatch.PeerChanged, "turn2", netwatch.IPChanged)
	}
	for n := range 4 {
		at := historytest.Begin.AddDate(0, 3*n, 10)
		heard(at, netwatch.PeerLost, "gateway", "")
		heard(at.Add(40*time.Minute), netwatch.PeerBack, "gateway", "")
	}
	return all
}

// written is a directory with a history of these entries: the older half put away, a line
// in the middle damaged, and the last one torn.
func written(t testing.TB, entries []netwatch.Entry) string {
	t.Helper()
	var about []netwatch.Entry
	for _, e := range entries {
		if e.Moments != nil || e.Kind == netwatch.EntryOutage {
			about = append(about, e)
		}
	}
	dir, half := t.TempDir(), len(entries)/2
	const torn = `{"time":"2026-11-24T00:00:00Z","kind":"ev`
	for name, text := range map[string]string{
		"history.jsonl.before": linesOf(t, entries[:half]) + "\x00\x00\x00damaged\n",
		"history.jsonl":        linesOf(t, entries[half:]) + torn,
		"addresses.jsonl":      linesOf(t, about),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func linesOf(t testing.TB, entries []netwatch.Entry) string {
	t.Helper()
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	for _, e := range entries {
		if err := out.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}
