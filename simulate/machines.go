package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// machines are the names of the others.
var machines = []string{"gateway", "turn2"}

// A machine is another one that says how it is.
type machine struct {
	*World
	name            string
	number, connect int64
	lost            bool
	// since is when it was lost, or came back.
	since   time.Duration
	address string
	// moved is since when it has its address, and before what it said until then.
	moved  time.Duration
	before []byte
	// told is what it hands on, the newest route.
	told map[string]any
	// hostile says that what the broker has of it is nonsense of somebody else's.
	hostile bool
	// said are all addresses and routes that it truly said.
	said map[string]bool
	// last is what was told of it last, and at when.
	last string
	at   time.Duration
}

// A peerView is how netwatch sees one.
type peerView struct{ state, address string }

func (w *World) newMachines() {
	for _, name := range machines {
		m := &machine{World: w, name: name, said: map[string]bool{}, at: -time.Hour}
		m.says(addressOf(netwatch.IPv4, w.draw(name)).String())
		w.machines = append(w.machines, m)
	}
}

// next is a number that is larger than before.
func (m *machine) next() int64 {
	m.number = max(m.number+1, time.Now().UnixMilli())
	return m.number
}

// says has it say an address. w.mu is held.
func (m *machine) says(address string) {
	m.said[address] = true
	if m.address != address {
		m.before = m.broker.kept[topicOf(m.name)]
		m.address, m.moved = address, m.now()
	}
	m.next()
	if m.connect == 0 {
		m.connect = m.number
	}
	m.post(map[string]any{"number": m.number, "connect": m.connect, "version": "1", "addresses": map[string]any{
		"ipv4": map[string]any{"address": address},
	}, "told": m.handed()})
}

// handed is what it hands on.
func (m *machine) handed() []any {
	if m.told == nil {
		return nil
	}
	return []any{m.told}
}

// post has the broker say it.
func (m *machine) post(what any) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	m.hostile = false
	m.broker.say(topicOf(m.name), text)
}

// one is one of the others.
func (w *World) one(n uint64) *machine { return w.machines[mix(n, 7)%uint64(len(w.machines))] }

// machineMoves has another machine have another address, or be back with it.
func (w *World) machineMoves(n uint64) {
	m := w.one(n)
	if m.lost {
		m.lost, m.since = false, w.now()
		m.connect = m.next()
	}
	a := addressOf(netwatch.IPv4, mix(n, 1)).String()
	w.tell("%s has %s", m.name, a)
	m.says(a)
}

// machineTells has another machine hand on that its way out is another.
func (w *World) machineTells(n uint64) {
	m := w.one(n)
	if m.lost {
		return
	}
	route := fmt.Sprintf("eth%d 192.168.1.1 192.168.1.7", w.now())
	w.tell("%s hands on that its route is another", m.name)
	m.said[route] = true
	m.told = map[string]any{
		"number": m.next() + 1, "id": route, "event": netwatch.RouteChanged, "time": time.Now(),
		"family": netwatch.IPv4, "new": route,
	}
	m.says(m.address)
}

// machineGoes has another machine be gone, for a moment or for long.
func (w *World) machineGoes(n uint64) {
	m := w.one(n)
	if m.lost {
		return
	}
	w.tell("%s is gone", m.name)
	m.lost, m.since = true, w.now()
	m.post(map[string]any{"number": m.connect, "connect": m.connect, "lost": true, "version": "1"})
	w.later(exponential(mix(n, 1), 30*time.Second), func() {
		if m.lost {
			w.tell("%s is back", m.name)
			m.lost, m.since = false, w.now()
			m.connect = m.next()
			m.says(m.address)
		}
	})
}

// nonsense has somebody say something in the name of another machine that it never says.
func (w *World) nonsense(n uint64) {
	m := w.one(n)
	untrue := map[string]any{"ipv4": map[string]any{"address": "198.51.100.99"}}
	w.tell("somebody says nonsense in the name of %s", m.name)
	defer func() { m.hostile = true }()
	switch n % 10 {
	case 0:
		m.post(map[string]any{"number": int64(1)<<53 + 1, "connect": 1, "addresses": untrue})
	case 1:
		m.post(map[string]any{"number": m.number + 5, "connect": m.number + 6, "addresses": untrue})
	case 2:
		m.post(strings.Repeat("x", 17<<10))
	case 3:
		m.post([]int{1})
	default: // What it said before, once more
		m.broker.say(topicOf(m.name), m.before)
	}
	w.later(exponential(mix(n, 1), 5*time.Minute), w.anew)
}

// anew has all that are there say again how they are. w.mu is held.
func (w *World) anew() {
	for _, m := range w.machines {
		if !m.lost {
			m.says(m.address)
		} else {
			m.post(map[string]any{"number": m.connect, "connect": m.connect, "lost": true, "version": "1"})
		}
	}
	w.still = time.Now()
}

// The bounds of what is told of other machines: two events of one are so far apart, one that
// is gone is so for a while before that is told, and news come this late.
const (
	apartTime = 2*time.Second - 100*time.Millisecond
	goneTime  = 5*time.Second - 100*time.Millisecond
	newsTime  = 15 * time.Second
)

// peer is called when the log tells of another machine. w.mu is held.
func (l *life) peer(name string, fields map[string]string) {
	i := slices.IndexFunc(l.machines, func(m *machine) bool { return m.name == fields["peer"] })
	if i < 0 {
		l.broken("a machine is told of that is none: %q", fields["peer"])
		return
	}
	m, now := l.machines[i], l.now()
	what := name + " " + fields["new"]
	l.tell("of %s: %s", m.name, what)
	switch {
	case now-m.at < apartTime:
		l.broken("of %s is told twice within %s", m.name, now-m.at)
	case name == netwatch.PeerChanged && !m.said[fields["new"]]:
		l.broken("%s is said to have %q, which it has never said", m.name, fields["new"])
	case fields["told"] == netwatch.IPChanged && fields["new"] != m.address && now-m.moved > newsTime:
		l.broken("%s is said to have %s, and has had %s for %s", m.name, fields["new"], m.address, now-m.moved)
	case name == netwatch.PeerChanged && m.last == what:
		l.broken("of %s is told twice: %s", m.name, what)
	case name == netwatch.PeerLost && (!m.lost && now-m.since > newsTime || m.lost && now-m.since < goneTime):
		l.broken("%s is said to be lost", m.name)
	case name == netwatch.PeerBack && m.lost && now-m.since > newsTime:
		l.broken("%s is said to be back", m.name)
	}
	m.at, m.last = now, what
}

// misjudged is what is believed of it that is not so. w.mu is held.
func (m *machine) misjudged(v peerView) string {
	switch {
	case m.hostile:
		return ""
	case m.lost && v.state != netwatch.PeerGone, !m.lost && v.state != netwatch.PeerHere:
		return fmt.Sprintf("is lost: %v, and status says %q", m.lost, v.state)
	case !m.lost && v.address != m.address:
		return fmt.Sprintf("has %s, and status says %q", m.address, v.address)
	}
	return ""
}
