// Package historytest makes up a year of history, for tests: always the same. A provider
// gives another address each night at about four; there are an outage, a server that
// lies, a stop of netwatch and steps that fail; and what goes on beside that.
package historytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"netwatch"
)

// Entries is how many entries the year has.
const Entries = 100_000

// The beginning of the year, and the days of it on which something else happens than
// each night.
var (
	Begin = time.Date(2025, 11, 24, 0, 0, 0, 0, time.UTC)
	// Outage is when the line was down, for OutageTime, and another address came with it.
	Outage = Begin.AddDate(0, 0, 100).Add(13*time.Hour + 20*time.Minute)
	// Stop is when netwatch was stopped, for a night.
	Stop = Begin.AddDate(0, 0, 200).Add(22 * time.Hour)
	// Lie is when a server began to say another address than the others, for three days.
	Lie = Begin.AddDate(0, 0, 300)
	// Failure is the day on which the restart failed and was tried again.
	Failure = Begin.AddDate(0, 0, 50)
)

// OutageTime is how long the outage took.
const OutageTime = 5*time.Hour + 42*time.Minute

// Days is how many days the year has.
const Days = 365

// A year is one that is being made up.
type year struct {
	random  *rand.Rand
	all     []netwatch.Entry
	address int
	ids     int
	// confirmed is when the address was confirmed last.
	confirmed time.Time
}

// Year is all entries, oldest first.
func Year() []netwatch.Entry {
	y := &year{random: rand.New(rand.NewPCG(16, 2025))} //nolint:gosec // It is to be the same each time
	y.change(Begin, netwatch.BySTUN, "")
	for day := range Days {
		y.day(Begin.AddDate(0, 0, day), (Entries*(day+1))/Days)
	}
	for len(y.all) > Entries {
		y.all = y.all[:Entries]
	}
	return y.all
}

// day makes up a day, after which there are so many entries.
func (y *year) day(at time.Time, until int) {
	night := at.Add(4*time.Hour + time.Duration(y.random.IntN(600))*time.Second)
	stopped := at.Equal(Stop.Add(2 * time.Hour))
	if !stopped {
		y.change(night, y.noticed(), "")
	} else {
		y.event(at.Add(7*time.Hour), netwatch.Started, "netwatch", nil)
		y.confirmed = Stop
		y.change(at.Add(7*time.Hour+time.Second), netwatch.BySTUN, netwatch.AfterStop)
	}
	if sub := Outage.Sub(at); sub >= 0 && sub < 24*time.Hour {
		y.outage()
	}
	if sub := at.Sub(Lie); sub >= 0 && sub < 72*time.Hour {
		y.add(netwatch.Entry{
			Time: at.Add(12 * time.Hour), Kind: netwatch.EntryNote, Source: "stun",
			Error: "stun.example.net:3478 says 198.51.100.66, which too few others say",
		})
	}
	last := at.Add(15 * time.Hour)
	if n := len(y.all); n > 0 && y.all[n-1].Time.After(last) {
		last = y.all[n-1].Time.Add(time.Second)
	}
	for i := 0; len(y.all) < until; i++ {
		y.beside(last.Add(time.Duration(i) * 90 * time.Second))
	}
}

// noticed is by what a change is noticed: mostly by the router.
func (y *year) noticed() string {
	switch n := y.random.IntN(10); {
	case n < 7:
		return netwatch.ByRouter
	case n < 8:
		return netwatch.ByKernel
	}
	return netwatch.BySTUN
}

func (y *year) add(e netwatch.Entry) { y.all = append(y.all, e) }

// event adds one, and returns its id.
func (y *year) event(at time.Time, name, source string, fields map[string]string) string {
	y.ids++
	id := fmt.Sprintf("id%08d", y.ids)
	y.add(netwatch.Entry{Time: at, Kind: netwatch.EntryEvent, ID: id, Event: name, Source: source, Fields: fields})
	return id
}

// ip is the n-th address.
func ip(n int) string { return fmt.Sprintf("203.0.%d.%d", 113+n/250, 1+n%250) }

// change makes up that the address is another, and the run because of that.
func (y *year) change(at time.Time, by, after string) {
	old := ""
	if y.address > 0 {
		old = ip(y.address)
		if after == "" {
			y.confirmed = at.Add(-time.Duration(y.random.IntN(15_000)) * time.Millisecond)
		}
	}
	y.address++
	noticed := at
	if by == netwatch.ByRouter {
		noticed = at.Add(-300 * time.Millisecond)
		y.event(noticed, netwatch.RouterChanged, "router", map[string]string{
			"gateway": "192.168.1.1", "old": old, "new": ip(y.address),
		})
	}
	m := netwatch.Moments{Confirmed: y.confirmed, Noticed: noticed, Accepted: at.Add(5 * time.Millisecond)}
	id := y.event(m.Accepted, netwatch.IPChanged, "stun", map[string]string{
		"family": "ipv4", "old": old, "new": ip(y.address), "by": "stun.example.com:3478, stun.example.org:3478",
	})
	e := &y.all[len(y.all)-1]
	e.Noticed, e.After, e.Moments = by, after, &netwatch.Moments{
		Confirmed: m.Confirmed, Noticed: m.Noticed, Accepted: m.Accepted,
	}
	y.run(id, by, after, m)
}

// run makes up the run because of a change.
func (y *year) run(id, by, after string, m netwatch.Moments) {
	step := func(at time.Time, text string, as netwatch.Outcome, seconds float64) *netwatch.Entry {
		y.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryStep, ID: id, Event: netwatch.IPChanged, Rule: "coturn", Step: text, Outcome: as,
			Seconds: seconds,
		})
		return &y.all[len(y.all)-1]
	}
	ended := func(at time.Time, as netwatch.Outcome) *netwatch.Entry {
		moments := m
		y.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryRun, ID: id, Event: netwatch.IPChanged, Rule: "coturn", Outcome: as,
			Seconds: at.Sub(m.Accepted).Seconds(), Noticed: by, After: after, Moments: &moments,
		})
		return &y.all[len(y.all)-1]
	}
	const restart = "restart coturn.service"
	m.Rewritten = m.Accepted.Add(80 * time.Millisecond)
	step(m.Rewritten, "rotate coturn /etc/turnserver.conf", netwatch.Changed, 0.07)
	begins := m.Rewritten
	if m.Accepted.Truncate(24 * time.Hour).Equal(Failure) {
		const said, hint = "restarting coturn.service: the job failed", "journalctl -u coturn.service"
		begins = begins.Add(1200 * time.Millisecond)
		e := step(begins, restart, netwatch.Failed, 0.4)
		e.Error, e.Hint = said, hint
		e = ended(begins, netwatch.Failed)
		again := begins.Add(time.Second)
		e.Step, e.Error, e.Hint, e.Retry = restart, said, hint, &again
		begins = again
	}
	m.Restarted = begins.Add(time.Duration(300+y.random.IntN(900)) * time.Millisecond)
	step(m.Restarted, restart, netwatch.Changed, m.Restarted.Sub(begins).Seconds())
	m.Proven = m.Restarted.Add(60 * time.Millisecond)
	step(m.Proven, "verify turn /etc/turnserver.conf", netwatch.Unchanged, 0.06)
	e := ended(m.Proven, netwatch.Changed)
	if !m.Confirmed.IsZero() {
		e.Wrong = &netwatch.Wrong{Least: begins.Sub(m.Accepted).Seconds(), Most: m.Proven.Sub(m.Confirmed).Seconds()}
	}
}

// outage makes up a time in which the line was down.
func (y *year) outage() {
	fields := map[string]string{"family": "ipv4", "address": ip(y.address)}
	over := Outage.Add(OutageTime)
	y.add(netwatch.Entry{Time: Outage, Kind: netwatch.EntryOutage, Fields: fields})
	y.add(netwatch.Entry{Time: over, Kind: netwatch.EntryOutage, Fields: fields, Seconds: OutageTime.Seconds()})
	y.confirmed = Outage.Add(-8 * time.Second)
	y.change(over, netwatch.BySTUN, netwatch.AfterOutage)
}

// beside makes up what has nothing to do with the address: a certificate, or a file, and
// the run because of it.
func (y *year) beside(at time.Time) {
	name, rule, file := netwatch.FileChanged, "follow", "/etc/turnserver.conf"
	if y.random.IntN(50) == 0 {
		name, rule, file = netwatch.CertRenewed, "certs", "/etc/ssl/example.org/fullchain.pem"
	}
	id := y.event(at, name, "file", map[string]string{"file": file, "new": fmt.Sprintf("%064x", y.random.Uint64())})
	y.add(netwatch.Entry{
		Time: at.Add(time.Second), Kind: netwatch.EntryStep, ID: id, Event: name, Rule: rule, Step: "probe stun",
		Outcome: netwatch.Unchanged, Detail: "ipv4 " + ip(y.address), Seconds: 0.05,
	})
	y.add(netwatch.Entry{
		Time: at.Add(2 * time.Second), Kind: netwatch.EntryRun, ID: id, Event: name, Rule: rule,
		Outcome: netwatch.Unchanged, Seconds: 2,
	})
}

// Put writes the year into a state directory as netwatch would have, but that nothing is
// pushed out: the older half into the files before. The last line is torn, as by a power
// cut, and one in the middle is damaged.
func Put(dir string) error {
	year := Year()
	var about []netwatch.Entry
	for _, e := range year {
		if e.Moments != nil || e.Kind == netwatch.EntryOutage {
			about = append(about, e)
		}
	}
	for name, all := range map[string][]netwatch.Entry{"history.jsonl": year, "addresses.jsonl": about} {
		half := len(all) / 2
		before, newest := lines(all[:half]), lines(all[half:])
		before = append(before, "\x00\x00\x00damaged\n"...)
		newest = append(newest, `{"time":"2026-11-24T00:00:00Z","kind":"ev`...)
		if err := os.WriteFile(filepath.Join(dir, name+".before"), before, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), newest, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// lines are entries as they are in a file.
func lines(all []netwatch.Entry) []byte {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	for _, e := range all {
		_ = out.Encode(e) // Every entry can be encoded
	}
	return text.Bytes()
}
