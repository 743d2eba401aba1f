package history

import (
	"net/netip"
	"strings"
	"time"

	"netwatch"
)

// An Address is a public address of ours, and for how long it was that.
type Address struct {
	Family  netwatch.Family `json:"family"`
	Address netip.Addr      `json:"address"`
	// From is when it was found out. Until is when the next one was; or, if that was seen
	// after an outage or a stop, when a server last said this one. It is zero while the
	// address stands.
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"`
	// Seconds is how long it was ours; as yet, of one that stands.
	Seconds float64 `json:"seconds"`
	// By are the servers that confirmed it first.
	By []string `json:"by"`
	// Noticed says by what it was noticed (netwatch.BySTUN and so on), and After is
	// netwatch.AfterOutage or netwatch.AfterStop if it was seen late because of that.
	Noticed string `json:"noticed"`
	After   string `json:"after,omitempty"`
}

// Addresses makes addresses of the entries about them, which are added oldest first.
type Addresses struct {
	all    []Address
	stands map[netwatch.Family]int // the index in all
}

// Add adds an entry. Only the events that tell of a change matter.
func (a *Addresses) Add(e netwatch.Entry) {
	address, err := netip.ParseAddr(e.Fields["new"])
	if e.Kind != netwatch.EntryEvent || e.Moments == nil || err != nil || address.Zone() != "" { // A zone is any text
		return
	}
	family := netwatch.FamilyOf(address)
	before, is := a.stands[family]
	if is && a.all[before].Address == address {
		return // A state that was lost finds the same again
	}
	if is {
		a.all[before].Until = e.Moments.Accepted
		if confirmed := e.Moments.Confirmed; e.After != "" && !confirmed.IsZero() {
			a.all[before].Until = confirmed
		}
	}
	if a.stands == nil {
		a.stands = map[netwatch.Family]int{}
	}
	a.stands[family] = len(a.all)
	a.all = append(a.all, Address{
		Family: family, Address: address, From: e.Moments.Accepted, By: strings.Split(e.Fields["by"], ", "),
		Noticed: e.Noticed, After: e.After,
	})
}

// Of are the addresses that were ours at some time that the query wants, as far as it was
// by now, oldest first.
func (a *Addresses) Of(q Query, now time.Time) []Address {
	of := []Address{}
	for _, one := range a.all {
		end := one.Until
		if end.IsZero() {
			end = now
		}
		one.Seconds = max(0, end.Sub(one.From).Seconds())
		if !end.Before(q.Since) && (q.Until.IsZero() || one.From.Before(q.Until)) {
			of = append(of, one)
		}
	}
	return of
}
