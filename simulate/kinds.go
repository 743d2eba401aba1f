package simulate

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"netwatch"
	"netwatch/control"
)

// A befalling is a kind of stimulus, how often it comes beside the others, and what it
// does. w.mu is held meanwhile.
type befalling struct {
	kind   Kind
	weight int
	do     func(w *World, n uint64)
}

// kinds are all that can befall a world.
var kinds = []befalling{
	{"another address", 20, (*World).moves},
	{"the line is down", 4, (*World).down},
	{"the line is up", 8, (*World).up},
	{"a server behaves otherwise", 12, (*World).behaves},
	{"the file is written by an app", 4, (*World).app},
	{"the unit is restarted by somebody", 3, (*World).somebody},
	{"the server dies", 2, (*World).dies},
	{"the next jobs go otherwise", 6, (*World).moods},
	{"the bus begins anew", 3, (*World).busAnew},
	{"the bus ends with the next job", 3, func(w *World, _ uint64) { w.unit.loses = true; w.tell("the bus will end") }},
	{"somebody stops the unit", 1, (*World).stops},
	{"the disk is full for a while", 2, (*World).fill},
	{"netwatch is killed", 3, func(w *World, _ uint64) { w.killNow(false) }},
	{"netwatch is killed soon", 8, func(w *World, n uint64) { w.killSoon(n, false) }},
	{"the power is cut", 2, func(w *World, n uint64) { w.killSoon(n, true) }},
	{"the power is cut at rest", 1, func(w *World, _ uint64) { w.killNow(true) }},
	{"netwatch is restarted", 2, (*World).restarted},
	{"a reload", 8, (*World).reload},
	{"the configuration is another, and a reload", 5, (*World).others},
	{"the configuration has a mistake", 2, (*World).mistaken},
	{"the certificate is renewed", 4, (*World).renews},
	{"the program goes otherwise", 4, (*World).programs},
	{"those who are told of runs behave otherwise", 3, (*World).notified},
	{"another machine has another address", 4, (*World).machineMoves},
	{"another machine hands something on", 3, (*World).machineTells},
	{"another machine is gone for a while", 2, (*World).machineGoes},
	{"somebody says nonsense by the broker", 4, (*World).nonsense},
	{"the broker behaves otherwise", 6, (*World).brokers},
	{"somebody fires ip-changed", 4, (*World).fire},
	{"the clock is set ahead", 2, (*World).ahead},
	{"the clock is set back", 2, (*World).back},
	{"the machine is suspended", 3, (*World).suspends},
	{"somebody forges answers, or no longer", 2, (*World).forges},
	{"all servers say a private address", 1, (*World).captive},
	{"the router behaves otherwise", 5, (*World).routes},
	{"all servers are honest", 4, (*World).honest},
	{"the address is another again and again, by hand", 1, (*World).storm},
	{"two uplinks take turns", 1, (*World).uplinks},
}

// moves gives the line another address.
func (w *World) moves(n uint64) {
	name := netwatch.IPv4
	if six := w.line.families[netwatch.IPv6]; six != nil && n%3 == 0 {
		name = netwatch.IPv6
	}
	f := w.line.families[name]
	a := addressOf(name, mix(n, 1))
	if a == f.address {
		return
	}
	f.become(a, w.now())
	w.tell("the address is %s", a)
	w.told()
	for _, s := range w.all { // Nobody lies with the truth
		if s.lie[name] == a {
			delete(s.lie, name)
		}
	}
}

// told has the router and the kernel tell of a change of the line.
func (w *World) told() {
	w.tells()
	w.router.announces()
}

func (w *World) down(n uint64) {
	for i, name := range netwatch.Families {
		if f := w.line.families[name]; f != nil && (n%4 == uint64(i) || n%4 > 1) {
			f.up = false
			w.tell("the line is down: %s", name)
			w.told()
		}
	}
}

func (w *World) up(uint64) {
	for _, name := range netwatch.Families {
		if f := w.line.families[name]; f != nil && !f.up {
			f.up = true
			w.tell("the line is up: %s", name)
			w.told()
		}
	}
}

// behaves has a server behave otherwise. Fewer than agree say the same that is not true.
func (w *World) behaves(n uint64) {
	s := w.all[n%many]
	all := []manner{honest, honest, honest, lies, silent, refuses, slow, lossy, strange, private, twice, broken}
	s.does = all[mix(n, 1)%uint64(len(all))]
	if s.does == lies {
		for _, name := range netwatch.Families {
			s.lie[name] = lieOf(name, s.number, mix(n, 2))
		}
	}
	w.tell("server %d %s", s.number, s.does)
}

// lieOf is an address that no line has, of this server alone.
func lieOf(name netwatch.Family, number int, n uint64) (a netip.Addr) {
	a = addressOf(name, n)
	if name == netwatch.IPv4 {
		b := a.As4()
		b[3] = byte(100 + 10*number + int(n%3))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	b[7] = byte(100 + 10*number + int(n%3))
	return netip.AddrFrom16(b)
}

// app has an app write the server's file, by halves, as it was once.
func (w *World) app(n uint64) {
	f := w.files[mix(n, 9)%uint64(len(w.files))]
	whole := fmt.Sprintf(f.form, addressOf(netwatch.IPv4, n)) + fmt.Sprintf("# %x\n", n)
	w.tell("an app begins to write %s", f.name)
	f.write("")
	f.writing++
	step := func(after time.Duration, text string) {
		time.AfterFunc(after, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			f.write(text)
			if text == whole {
				f.writing--
			}
			w.still = time.Now()
		})
	}
	step(w.spanOf("app begins", time.Millisecond, 100*time.Millisecond), strings.TrimSuffix(whole[:len(whole)/2], "\n"))
	step(w.spanOf("app ends", 101*time.Millisecond, 400*time.Millisecond), whole)
	time.AfterFunc(w.spanOf("app restarts", 401*time.Millisecond, 3*time.Second), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.somebody(n)
		w.still = time.Now()
	})
}

// somebody restarts the unit.
func (w *World) somebody(uint64) {
	u := w.unit
	if u.starts = u.lately(); len(u.jobs) > 0 || len(u.starts) >= burst-1 {
		return
	}
	w.tell("somebody restarts the unit")
	u.starts, u.by = append(u.starts, w.now()), 0
	u.begin()
	time.AfterFunc(time.Nanosecond, func() { u.bus.Changed(unitName) })
}

// stops has somebody stop the unit, who starts it again later.
func (w *World) stops(n uint64) {
	u := w.unit
	if u.active != "active" || len(u.jobs) > 0 {
		return
	}
	w.tell("somebody stops the unit")
	u.be("inactive", "dead", "success")
	u.stopped = time.Now()
	w.beside(func() {
		pass(exponential(n, 20*time.Minute))
		w.mu.Lock()
		defer w.mu.Unlock()
		if u.active == "inactive" && len(u.jobs) == 0 && !w.ended {
			w.tell("somebody starts the unit")
			u.starts, u.by = append(u.lately(), w.now()), 0
			u.begin()
		}
	})
}

func (w *World) dies(uint64) {
	if w.unit.active == "active" && len(w.unit.jobs) == 0 {
		w.tell("the server dies")
		w.unit.be("failed", "failed", "signal")
	}
}

func (w *World) moods(n uint64) {
	all := []string{"fail", "slow", "hang", "die", "refuse"}
	for i := range 1 + mix(n, 1)%3 {
		w.mood.next = append(w.mood.next, all[mix(n, 2, i)%uint64(len(all))])
	}
	w.tell("the next jobs go: %s", strings.Join(w.mood.next, ", "))
}

// busAnew ends the bus, and has another in its place soon.
func (w *World) busAnew(n uint64) {
	w.tell("the bus ends")
	w.busUp = false
	bus := w.bus
	time.AfterFunc(time.Nanosecond, bus.HangUp)
	time.AfterFunc(between(n, 10*time.Millisecond, 3*time.Second), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busUp, w.still = true, time.Now()
		w.tell("the bus is there")
	})
}

// fill fills the disk, until somebody makes room.
func (w *World) fill(n uint64) {
	w.disk.full = true
	w.tell("the disk is full")
	time.AfterFunc(exponential(n, 10*time.Minute), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.disk.full, w.still = false, time.Now()
		w.tell("the disk has room")
	})
}

// killNow has netwatch be killed at rest.
func (w *World) killNow(cuts bool) {
	if l := w.life; l != nil && !l.dead {
		l.cuts = cuts
		l.kill("at rest")
	}
}

// killSoon has netwatch be killed before one of the effects to come.
func (w *World) killSoon(n uint64, cuts bool) {
	if l := w.life; l != nil && !l.dead {
		l.cuts, l.fuse = cuts, n|1
		if n%4 > 0 { // While there is something to do
			w.moves(mix(n, 5))
		}
	}
}

func (w *World) restarted(uint64) {
	l := w.life
	if l == nil || l.dead {
		return
	}
	w.tell("netwatch is stopped")
	l.ending = true
	w.beside(func() {
		l.cancel()
		l.over()
		pass(l.lag("again", 50*time.Millisecond, time.Second))
		l.start()
	})
}

// over returns when the life has ended, by itself or as it was killed.
func (l *life) over() {
	for dead := false; !dead; {
		pass(l.lag("over", time.Millisecond, 2*time.Millisecond))
		l.mu.Lock()
		dead = l.dead
		l.mu.Unlock()
	}
}

func (w *World) reload(n uint64) {
	if n%2 == 0 { // While there is something to do
		w.moves(mix(n, 1))
		w.fire(0)
	}
	w.reloadSoon(n)
}

// fire has somebody fire ip-changed, who is told that it was accepted.
func (w *World) fire(uint64) {
	l := w.life
	if l == nil || l.dead || l.daemon == nil {
		return
	}
	w.tell("somebody fires ip-changed")
	l.fired = w.now()
	d := l.daemon
	w.beside(func() {
		a, err := d.Fire(context.Background(), control.Request{Event: netwatch.IPChanged, NoWait: true}, nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		if l.dead || l.ending && err != nil { // Whether that is heard before it ends is chance
			return
		}
		if err != nil {
			w.tell("it is refused: %v", err)
			return
		}
		w.tell("it is accepted")
		if a.Unwritten == nil {
			w.promised.answered(w, a.ID)
		}
	})
}

// forges has somebody answer each question with a false address before the server does, who
// does not know the transaction id.
func (w *World) forges(n uint64) {
	w.forged = !w.forged && n%2 == 0
	w.tell("somebody forges answers: %v", w.forged)
}

// captive has all servers say a private address, as behind a portal.
func (w *World) captive(uint64) {
	for _, s := range w.all {
		s.does = private
	}
	w.tell("all servers say a private address")
}

func (w *World) honest(uint64) {
	for _, s := range w.all {
		s.does = honest
	}
	w.tell("all servers are honest")
}

// again does something several times, so far apart.
func (w *World) again(times int, least, most time.Duration, do func(i int)) {
	w.beside(func() {
		for i := range times {
			w.mu.Lock()
			if w.healed {
				w.mu.Unlock()
				return
			}
			do(i)
			w.still = time.Now()
			w.mu.Unlock()
			pass(w.lag("again and again", least, most))
		}
	})
}

// storm is more changes than a unit may be started, each told of by hand.
func (w *World) storm(n uint64) {
	w.tell("the address is another again and again")
	if n%2 == 0 {
		w.mood.next = append(w.mood.next, "refuse", "well", "refuse")
	}
	w.again(3*burst, 500*time.Millisecond, 1500*time.Millisecond, func(i int) {
		w.line.families[netwatch.IPv4].become(addressOf(netwatch.IPv4, n+uint64(i/2)), w.now())
		w.told()
		w.fire(n)
	})
}

// uplinks are two lines that take turns.
func (w *World) uplinks(n uint64) {
	w.tell("two uplinks take turns")
	w.again(40, 16*time.Second, 25*time.Second, func(i int) {
		w.line.families[netwatch.IPv4].become(addressOf(netwatch.IPv4, n+uint64(i%2)), w.now())
		w.told()
	})
}

// heal makes everything well.
func (w *World) heal() {
	w.tell("from now on all is well")
	w.up(0)
	w.honest(0)
	w.router.does = "says all"
	w.forged, w.healed = false, true
	w.broker.does, w.broker.since = "works", w.now()
	w.anew()
	w.configure(w.usual)
	w.reloadSoon(1)
	w.disk.full, w.mood.next = false, nil
	w.unit.loses, w.program.next.next, w.notices = false, nil, "take it"
	if w.excused { // Status has said that it may be so
		w.somebody(0)
	}
	w.still = time.Now()
	if l := w.life; l != nil && !l.dead {
		l.fuse = 0
	}
}
