package daemon

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"netwatch"
)

// reasonTime is for how long something that gave reason to look is what a change was
// noticed by.
const reasonTime = 30 * time.Second

// reasons are what gave reason to look lately.
type reasons struct {
	mu  sync.Mutex
	all []reason // oldest first
	// looked is when the sources were last asked to look because of one.
	looked time.Time
}

// A reason is what gave reason to look (netwatch.BySTUN and so on), and when.
type reason struct {
	by string
	at time.Time
}

// give notes a reason, if it is one. Of one kind one in a second is enough.
func (r *reasons) give(by string) {
	if by == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var kept []reason
	for _, one := range r.all {
		if now.Sub(one.at) < reasonTime {
			kept = append(kept, one)
		}
		if one.by == by && now.Sub(one.at) < time.Second {
			by = ""
		}
	}
	if by != "" {
		kept = append(kept, reason{by, now})
	}
	r.all = kept
}

// look notes that the sources are asked to look.
func (r *reasons) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked = time.Now()
}

// since is the first reason to look since a moment; without one, what was found out at
// the time of a poll was noticed by that.
func (r *reasons) since(confirmed, poll time.Time) (by string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		if one.at.After(confirmed) && one.at.Before(poll) && poll.Sub(one.at) < reasonTime && one.at.Before(r.looked) {
			return one.by, one.at
		}
	}
	return netwatch.BySTUN, poll
}

// reasonOf says what an event gives reason to look by, or nothing.
func reasonOf(ev netwatch.Event) string {
	if ev.Source == netwatch.Fired {
		return netwatch.ByFire
	}
	kind, _ := netwatch.KnownEvent(ev.Name)
	return kind.Leads
}

// dated is an event with the moments of a change of our address, if it tells of one.
func (d *Daemon) dated(ev netwatch.Event) netwatch.Event {
	d.reasons.give(reasonOf(ev))
	address, err := netip.ParseAddr(ev.Fields["new"])
	if ev.About() != netwatch.AboutAddress || err != nil {
		return ev
	}
	family := netwatch.FamilyOf(address)
	before := d.store.Known()[family]
	m := netwatch.Moments{Confirmed: before.Confirmed, Accepted: time.Now()}
	ev.Noticed, m.Noticed = d.reasons.since(before.Confirmed, ev.Time)
	ev.Moments = &m
	switch out := d.heard(family); {
	case !before.Address.IsValid():
	case before.Confirmed.Before(d.since):
		ev.After = netwatch.AfterStop
	case out:
		ev.After = netwatch.AfterOutage
	}
	return ev
}

// look has the sources look at once because of a router.
func (d *Daemon) look(ctx context.Context) {
	d.reasons.give(netwatch.ByRouter)
	d.reasons.look()
	d.watch.look(ctx)
}

// outages are the families of whose servers none answers.
type outages struct {
	mu  sync.Mutex
	all map[netwatch.Family]outage
}

// An outage is since when no server answers.
type outage struct {
	since time.Time
	// told says that it is in history: more than one poll heard nobody.
	told bool
}

// confirm notes that servers said the known address of a family.
func (d *Daemon) confirm(family netwatch.Family, at time.Time, by []string, own netip.Addr) {
	d.heard(family)
	d.store.Confirm(family, at, by, own)
	d.rules.Confirmed(family)
}

// doubt notes that they do not say it.
func (d *Daemon) doubt(family netwatch.Family, heard bool) {
	if heard {
		d.heard(family)
	} else {
		d.unheard(family)
	}
	d.store.Doubt(family)
}

// unheard notes that a poll heard nobody. The second in a row is an outage.
func (d *Daemon) unheard(family netwatch.Family) {
	if !d.store.Known()[family].Address.IsValid() {
		return // It is not to be had here
	}
	d.outages.mu.Lock()
	defer d.outages.mu.Unlock()
	o, again := d.outages.all[family]
	if !again {
		o.since = time.Now()
	}
	if again && !o.told {
		o.told = true
		d.history.Add(d.outageEntry(family, o.since))
	}
	d.outages.all[family] = o
}

// heard notes that somebody answered, and says whether that ends an outage.
func (d *Daemon) heard(family netwatch.Family) bool {
	d.outages.mu.Lock()
	defer d.outages.mu.Unlock()
	o := d.outages.all[family]
	delete(d.outages.all, family)
	if o.told {
		e := d.outageEntry(family, time.Now())
		e.Seconds = time.Since(o.since).Seconds()
		d.history.Add(e)
	}
	return o.told
}

// outageEntry is an entry of an outage. The log tells of it in its own words.
func (d *Daemon) outageEntry(family netwatch.Family, at time.Time) netwatch.Entry {
	address := d.store.Known()[family].Address.String()
	return netwatch.Entry{
		Time: at, Kind: netwatch.EntryOutage, Fields: map[string]string{"family": string(family), "address": address},
	}
}
