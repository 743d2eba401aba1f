package report

import (
	"cmp"
	"slices"
	"time"

	"netwatch"
)

// A Peer is another machine, and what was heard of it.
type Peer struct {
	Name string `json:"name"`
	// Changes is how often its address became another, Told how often it told something
	// else, and Lost how often it was gone.
	Changes int `json:"changes"`
	Told    int `json:"told"`
	Lost    int `json:"lost"`
	// Gone says that it still is, and Away is for how many seconds it was, in all and as yet.
	Gone bool    `json:"gone"`
	Away float64 `json:"away"`
	// Last is when it was last heard of.
	Last time.Time `json:"last"`
}

// peers gathers them by their name.
type peers struct {
	by   map[string]*Peer
	lost map[string]time.Time // since when one is gone
}

func (p *peers) add(e netwatch.Entry) {
	name := e.Fields["peer"]
	if e.Kind != netwatch.EntryEvent || name == "" {
		return
	}
	switch e.Event {
	case netwatch.PeerChanged:
		one := p.of(name, e.Time)
		if e.Fields["told"] == netwatch.IPChanged {
			one.Changes++
		} else {
			one.Told++
		}
	case netwatch.PeerLost:
		one := p.of(name, e.Time)
		one.Lost++
		if !one.Gone {
			one.Gone, p.lost[name] = true, e.Time
		}
	case netwatch.PeerBack:
		one := p.of(name, e.Time)
		if one.Gone {
			one.Gone = false
			one.Away += e.Time.Sub(p.lost[name]).Seconds()
		}
	}
}

// of is the machine of a name, which was heard of at that moment.
func (p *peers) of(name string, at time.Time) *Peer {
	if p.by == nil {
		p.by, p.lost = map[string]*Peer{}, map[string]time.Time{}
	}
	one := p.by[name]
	if one == nil {
		one = &Peer{Name: name}
		p.by[name] = one
	}
	one.Last = at
	return one
}

// all are the machines, by their names, as they are at a moment.
func (p *peers) all(now time.Time) []Peer {
	all := []Peer{}
	for name, one := range p.by {
		done := *one
		if done.Gone {
			done.Away += now.Sub(p.lost[name]).Seconds()
		}
		done.Name = clean(done.Name)
		all = append(all, done)
	}
	slices.SortFunc(all, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
