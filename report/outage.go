package report

import (
	"cmp"
	"slices"
	"time"

	"netwatch"
)

// An Outage is a time in which no server said what our address is.
type Outage struct {
	// Families are those of which it was so at the same time.
	Families []netwatch.Family `json:"families"`
	From     time.Time         `json:"from"`
	// Until is zero while it lasts.
	Until time.Time `json:"until,omitzero"`
	// Seconds is how long it was, as far as it is within the report.
	Seconds float64 `json:"seconds"`
}

// outages makes outages of the entries that tell of their beginnings and ends.
type outages struct {
	ended []Outage
	open  map[netwatch.Family]time.Time // since when one lasts
}

func (o *outages) add(e netwatch.Entry) {
	family := netwatch.Family(e.Fields["family"])
	if e.Kind != netwatch.EntryOutage || !slices.Contains(netwatch.Families, family) {
		return
	}
	since, lasts := o.open[family]
	switch {
	case e.Seconds == 0 && !lasts: // If it lasts already, netwatch was started anew in it
		if o.open == nil {
			o.open = map[netwatch.Family]time.Time{}
		}
		o.open[family] = e.Time
	case e.Seconds > 0:
		begun := e.Time.Add(-time.Duration(e.Seconds * float64(time.Second)))
		if lasts {
			begun = earliest(begun, since)
		}
		delete(o.open, family)
		o.ended = append(o.ended, Outage{Families: []netwatch.Family{family}, From: begun, Until: e.Time})
	}
}

// within are the outages between two moments, oldest first.
func (o *outages) within(since, until time.Time) []Outage {
	all := slices.Clone(o.ended)
	for family, from := range o.open {
		all = append(all, Outage{Families: []netwatch.Family{family}, From: from})
	}
	slices.SortFunc(all, func(a, b Outage) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Families[0], b.Families[0]))
	})
	within := []Outage{}
	for _, one := range all {
		end := until
		if !one.Until.IsZero() {
			end = one.Until
		}
		one.From, one.Until = later(inZone(one.From, until), since), inZone(one.Until, until)
		if one.Seconds = end.Sub(one.From).Seconds(); one.Seconds > 0 {
			within = joinedOutages(append(within, one))
		}
	}
	return within
}

// atOnce is within what time both families are lost, or there again, if it is the line.
const atOnce = time.Minute

// joinedOutages makes one of the last two outages, if they are one of both families.
func joinedOutages(all []Outage) []Outage {
	if len(all) < 2 {
		return all
	}
	a, b := &all[len(all)-2], all[len(all)-1]
	if slices.Contains(a.Families, b.Families[0]) || a.Until.IsZero() != b.Until.IsZero() ||
		b.From.Sub(a.From) > atOnce || b.Until.Sub(a.Until).Abs() > atOnce {
		return all
	}
	a.Families = append(a.Families, b.Families...)
	a.Until = later(a.Until, b.Until)
	a.Seconds = max(a.Seconds, b.Seconds)
	return all[:len(all)-1]
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
