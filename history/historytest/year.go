// Package historytest makes up a year of history, always the same: a line that is
// connected anew each night, outages, a server that lies, proofs and failures, two other
// machines, and much that is of no interest.
package historytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"netwatch"
)

// Entries is how many entries Year makes.
const Entries = 100_000

// Place is where it all is: the time zone that goes with the hours.
var Place = sync.OnceValue(func() *time.Location {
	place, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err) // Tests need zoneinfo
	}
	return place
})

// Begin and End are when the year begins and ends.
func Begin() time.Time { return time.Date(2025, time.November, 26, 0, 0, 0, 0, Place()) }

// End is the end of the year.
func End() time.Time { return Begin().AddDate(1, 0, 0) }

// A maker makes entries.
type maker struct {
	random *rand.Rand
	all    []netwatch.Entry
	host   byte // of the next address
	// stands is the address that stands, and confirmed when a server last said it.
	stands map[netwatch.Family]netip.Addr
	ids    int
}

// Year makes the entries of a year, oldest first.
func Year() []netwatch.Entry {
	m := &maker{random: rand.New(rand.NewPCG(16, 3)), stands: map[netwatch.Family]netip.Addr{}}
	m.change(Begin().Add(time.Minute), netwatch.IPv4, "")
	m.change(Begin().Add(time.Minute), netwatch.IPv6, "")
	for day := Begin(); day.Before(End()); day = day.AddDate(0, 0, 1) {
		m.day(day)
	}
	m.lies()
	m.peers()
	for n := Entries - len(m.all); n > 0; n-- {
		m.noise(n)
	}
	slices.SortStableFunc(m.all, func(a, b netwatch.Entry) int { return a.Time.Compare(b.Time) })
	return m.all
}

// day makes what is on a day: the line is connected anew at about ten past four on nine of
// ten; the other family changes with that of the first of a month.
func (m *maker) day(day time.Time) {
	at := time.Date(day.Year(), day.Month(), day.Day(), 4, 7, m.random.IntN(360), 0, day.Location())
	after := ""
	switch {
	case day.Month() == time.March && day.Day() == 14:
		at, after = m.outage(at.Add(5*time.Hour), 6*time.Hour+12*time.Minute), netwatch.AfterOutage
	case m.random.IntN(60) == 0:
		at, after = m.outage(at, time.Duration(2+m.random.IntN(50))*time.Minute), netwatch.AfterOutage
	case m.random.IntN(10) == 0:
		return
	}
	m.change(at, netwatch.IPv4, after)
	if day.Day() == 1 {
		m.change(at.Add(20*time.Second), netwatch.IPv6, after)
	}
	if m.random.IntN(40) == 0 { // Once more, by day
		m.change(at.Add(time.Duration(1+m.random.IntN(18))*time.Hour), netwatch.IPv4, "")
	}
}

// outage makes one of both families, and returns when it ends.
func (m *maker) outage(from time.Time, d time.Duration) time.Time {
	for _, family := range netwatch.Families {
		e := netwatch.Entry{Time: from, Kind: netwatch.EntryOutage, Fields: map[string]string{
			"family": string(family), "address": m.stands[family].String(),
		}}
		m.add(e)
		e.Time, e.Seconds = from.Add(d), d.Seconds()
		m.add(e)
	}
	return from.Add(d)
}

// next is an address that was not there before.
func (m *maker) next(family netwatch.Family) netip.Addr {
	m.host++
	if family == netwatch.IPv6 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:1::10", 0x1000+int(m.host)*37))
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, m.host})
}

// change makes a change of our address, and the run that makes the services follow.
func (m *maker) change(at time.Time, family netwatch.Family, after string) {
	old, is := m.stands[family]
	m.stands[family] = m.next(family)
	fields := map[string]string{
		"family": string(family), "new": m.stands[family].String(),
		"by": "stun.example.org:3478, stun.example.net:3478",
	}
	moments := netwatch.Moments{Noticed: at, Accepted: at.Add(m.upTo(900 * time.Millisecond))}
	if is {
		fields["old"], moments.Confirmed = old.String(), at.Add(-m.upTo(15*time.Second))
	}
	if after != "" {
		moments.Confirmed = at.Add(-time.Hour)
	}
	noticed := []string{netwatch.BySTUN, netwatch.ByRouter, netwatch.ByRouter, netwatch.ByKernel}[m.random.IntN(4)]
	m.ids++
	e := netwatch.Entry{
		Time: moments.Accepted, Kind: netwatch.EntryEvent, ID: fmt.Sprintf("c%09d", m.ids), Event: netwatch.IPChanged,
		Source: "stun", Fields: fields, Noticed: noticed, After: after, Moments: &moments,
	}
	m.add(e)
	m.follow(e, is)
}

// follow makes the run because of a change. Some are tried twice.
func (m *maker) follow(event netwatch.Entry, wrong bool) {
	at := event.Time
	step := func(text string, outcome netwatch.Outcome, detail string) {
		at = at.Add(m.upTo(800 * time.Millisecond))
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryStep, ID: event.ID, Event: event.Event, Rule: "coturn", Step: text,
			Outcome: outcome, Detail: detail, Seconds: 0.4,
		})
	}
	step("rotate coturn /etc/turnserver.conf", netwatch.Changed, "external-ip is "+event.Fields["new"])
	if m.random.IntN(50) == 0 {
		at = m.refused(event, at)
	}
	step("restart coturn.service", netwatch.Changed, "")
	moments := *event.Moments
	moments.Rewritten, moments.Restarted = event.Time.Add(100*time.Millisecond), at
	step("verify turn /etc/turnserver.conf", netwatch.Unchanged, "relays "+event.Fields["new"]+" over UDP, TCP and TLS")
	moments.Proven = at
	run := netwatch.Entry{
		Time: at, Kind: netwatch.EntryRun, ID: event.ID, Event: event.Event, Rule: "coturn", Outcome: netwatch.Changed,
		Seconds: at.Sub(event.Time).Seconds(), Noticed: event.Noticed, After: event.After, Moments: &moments,
	}
	if wrong {
		run.Wrong = &netwatch.Wrong{
			Least: moments.Restarted.Sub(moments.Noticed).Seconds(), Most: moments.Restarted.Sub(moments.Confirmed).Seconds(),
		}
	}
	m.add(run)
}

// refused makes a step that fails, and returns when it is tried again.
func (m *maker) refused(event netwatch.Entry, at time.Time) time.Time {
	again := at.Add(time.Minute)
	e := netwatch.Entry{
		Time: at, Kind: netwatch.EntryStep, ID: event.ID, Event: event.Event, Rule: "coturn", Step: "restart coturn.service",
		Outcome: netwatch.Failed, Error: fmt.Sprintf("restarting coturn.service: job %d: it failed", m.random.IntN(9000)),
		Hint: "see journalctl -u coturn.service for why", Seconds: 1.2,
	}
	m.add(e)
	e.Kind, e.Retry = netwatch.EntryRun, &again
	m.add(e)
	return again
}

// lies makes what is said of a server that lies for three weeks.
func (m *maker) lies() {
	for at := Begin().AddDate(0, 5, 0); at.Before(Begin().AddDate(0, 5, 21)); at = at.Add(11 * time.Hour) {
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryNote, Source: "stun",
			Error: "liar.example.com:3478 says 203.0.113.66, which too few others say",
			Hint:  "if it goes on, take that server out of `servers`",
		})
	}
}

// peers makes what is heard of two other machines.
func (m *maker) peers() {
	for at := Begin().Add(3 * time.Hour); at.Before(End()); at = at.AddDate(0, 0, 9) {
		m.add(m.peer(at, "peer-changed", map[string]string{
			"peer": "turn2", "told": netwatch.IPChanged, "family": "ipv4", "new": "192.0.2.7",
		}))
	}
	for at := Begin().AddDate(0, 2, 0); at.Before(End()); at = at.AddDate(0, 3, 0) {
		m.add(m.peer(at, "peer-lost", map[string]string{"peer": "gateway"}))
		m.add(m.peer(at.Add(40*time.Minute), "peer-back", map[string]string{"peer": "gateway"}))
	}
}

func (m *maker) peer(at time.Time, event string, fields map[string]string) netwatch.Entry {
	return netwatch.Entry{Time: at, Kind: netwatch.EntryEvent, ID: "p", Event: event, Source: "mqtt", Fields: fields}
}

// noise makes an entry of no interest.
func (m *maker) noise(n int) {
	at := Begin().Add(m.upTo(End().Sub(Begin())))
	id := fmt.Sprintf("n%09d", n)
	switch n % 4 {
	case 0:
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryEvent, ID: id, Event: netwatch.RouteChanged, Source: "netlink",
			Fields: map[string]string{"family": "ipv4", "interface": "eth0", "gateway": "192.168.1.1", "new": "eth0 - -"},
		})
	case 1:
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryStep, ID: id, Event: netwatch.RouteChanged, Rule: "look", Step: "probe stun",
			Outcome: netwatch.Unchanged, Detail: "stun says what was known", Seconds: 0.05,
		})
	case 2:
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryRun, ID: id, Event: netwatch.RouteChanged, Rule: "look",
			Outcome: netwatch.Unchanged, Seconds: 0.06,
		})
	default:
		m.add(netwatch.Entry{
			Time: at, Kind: netwatch.EntryStep, ID: id, Event: "due", Rule: "daily", Seconds: 0.1,
			Step: "verify tls turn.example.org:5349", Outcome: netwatch.Unchanged, Detail: "good until 2027-01-01",
		})
	}
}

func (m *maker) add(e netwatch.Entry) { m.all = append(m.all, e) }

// upTo is a time that is not longer.
func (m *maker) upTo(d time.Duration) time.Duration {
	return time.Duration(m.random.Int64N(int64(d/time.Millisecond))) * time.Millisecond
}

// Write writes entries as the daemon has them in a state directory, with a line that is
// damaged, and one that is torn at the end.
func Write(dir string, entries []netwatch.Entry) error {
	var before, newest, addresses bytes.Buffer
	for i, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("writing a history: %w", err)
		}
		to := &before
		if i > len(entries)/2 {
			to = &newest
		}
		to.Write(append(line, '\n'))
		if i == len(entries)/3 {
			to.WriteString("\x00\x00\n")
		}
		if e.Moments != nil || e.Kind == netwatch.EntryOutage {
			addresses.Write(append(line, '\n'))
		}
	}
	newest.WriteString(`{"time":"2026-11-25T23:59:59Z","kind":"no`)
	put := func(name string, text []byte) error { return os.WriteFile(filepath.Join(dir, name), text, 0o600) }
	return errors.Join(put("history.jsonl.before", before.Bytes()), put("history.jsonl", newest.Bytes()),
		put("addresses.jsonl", addresses.Bytes()))
}
