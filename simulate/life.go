package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/actions"
	"netwatch/control"
	"netwatch/daemon"
	"netwatch/sources"
	"netwatch/state"
	"netwatch/systemd"
)

// A life is one of the daemon's: from its start to its end, or to when it is killed. Of a
// killed one all that it could touch is gone; it winds down beside the world.
type life struct {
	*World
	number  int
	cancel  context.CancelFunc
	hangups chan os.Signal
	// ending says that it is told to end, and dead that it has, or is killed.
	ending, dead bool
	// fuse picks the effect before which it is killed, if it is set; cuts says that the power
	// is cut then.
	fuse uint64
	cuts bool
	// refuses says that the configuration had a mistake when it was last to be read.
	refuses bool
	// daemon is what callers ask, once it serves them.
	daemon   control.Daemon
	watchers []*watcher
	ways     []io.Closer // to the bus
	jumps    chan struct{}
	born     time.Duration
	// changes are when it changed the file, and fired when somebody last fired.
	changes map[change][]time.Duration
	fired   time.Duration
	// runs is how many programs run, and untold are the runs that notices are to tell of.
	runs   int
	untold map[string]time.Duration
	// failing are when runs failed first, by the event.
	failing map[promise]time.Duration
}

// start starts the daemon.
func (w *World) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.life != nil && !w.life.dead {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.story.Lives++
	l := &life{
		World: w, number: w.story.Lives, cancel: cancel, hangups: make(chan os.Signal, 1), jumps: make(chan struct{}, 1),
		born: w.now(), fired: -time.Hour, failing: map[promise]time.Duration{}, untold: map[string]time.Duration{},
		changes: map[change][]time.Duration{},
	}
	for _, f := range w.line.families {
		clear(f.told)
	}
	w.life = l
	for _, m := range w.machines {
		m.last, m.at = "", -time.Hour // What no rule waits for may be told once more
	}
	if w.usual.cert {
		w.cert.owed = max(1, w.cert.owed)
	}
	w.tell("netwatch starts (%d)", l.number)
	w.lives.Go(func() { l.live(ctx) })
}

// live is the daemon's whole life.
func (l *life) live(ctx context.Context) {
	err := l.serve(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	l.forgets()
	if err == nil {
		l.tell("netwatch ends")
		return
	}
	l.tell("netwatch ends: %v", err)
	time.AfterFunc(l.spanOf("again", time.Second, 20*time.Second), l.start)
}

// serve has it serve, until it ends.
func (l *life) serve(ctx context.Context) error {
	edges := daemon.Edges{
		Sources: sources.Edges{
			Network: network{l.World, l}, Inotify: l.inotify(), Router: l.contact, Kernel: l.kernel,
			Jumps: func(context.Context) (<-chan struct{}, error) { return l.jumps, nil }, Wall: l.wall,
			Broker: l.reachBroker, Random: l.random,
		},
		State:   func(string) (state.Directory, error) { return directory{l.disk, l}, nil },
		Read:    l.readFile,
		Callers: func(string) (daemon.Callers, error) { return callers{l}, nil },
		Random:  l.random,
	}
	env := actions.Env{Files: l, Machine: actions.Machine{
		Bus:  &systemd.Bus{Dial: l.dial, Uptime: l.unit.uptime},
		Here: l.here, Own: l.own, Allocate: l.unit.allocate, Run: l.run, Web: web{l}, Mail: l.mail, Host: "turn.example.org",
	}}
	l.mu.Lock()
	l.force()
	l.mu.Unlock()
	d, err := daemon.NewAt(edges, l.path("netwatch.toml"), "simulated", zerolog.New(logged{l}), env)
	if err != nil {
		return err
	}
	return d.Run(ctx, l.hangups)
}

// random is what the program takes for chance.
func (l *life) random() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return share(l.draw("random"))
}

// dial connects to the bus.
func (l *life) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	pass(l.lag("dial", 50*time.Microsecond, 500*time.Microsecond))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, errDead
	}
	if !l.busUp {
		return nil, os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	way, err := l.bus.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l.ways = append(l.ways, way)
	return leaving{way, l}, nil
}

// A leaving way to the bus is forgotten once it is closed.
type leaving struct {
	io.ReadWriteCloser
	life *life
}

// Close closes it.
func (w leaving) Close() error {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	w.life.ways = remove(w.life.ways, io.Closer(w.ReadWriteCloser))
	return w.ReadWriteCloser.Close()
}

// fuses are among how many effects the one is before which a daemon is killed: early in what
// it has to do, or late. It is picked by what it is and when, and not by its number: what is
// noted in the same instant by two may be written at once or one after the other.
var fuses = [...]uint64{4, 16, 48}

// effect is called before each effect, and returns an error when there is none, as the
// daemon was killed. w.mu is held.
func (l *life) effect(what string) error {
	if l.dead {
		return errDead
	}
	if l.fuse > 0 && mix(l.fuse, hashed(what), uint64(l.now()))%fuses[l.fuse>>1%uint64(len(fuses))] == 0 {
		l.kill("before " + what)
		return errDead
	}
	return nil
}

// kill ends the daemon as SIGKILL does, or the machine's power; it is started again a
// little later. w.mu is held.
func (l *life) kill(when string) {
	l.dead = true
	l.story.unsaid(l.now())
	l.forgets()
	l.story.fault("killed, or the power cut")
	again := l.spanOf("again", 100*time.Millisecond, 3*time.Second)
	if l.cuts {
		l.tell("the power is cut %s", when)
		l.disk.cut()
		l.unit.boots()
		again += 20 * time.Second
	} else {
		l.tell("netwatch is killed %s", when)
	}
	l.watchers = nil
	for _, way := range l.ways {
		_ = way.Close()
	}
	l.cancel()
	time.AfterFunc(again, l.start)
}

// forgets notes that a life has ended whose newest state the disk refused. w.mu is held.
func (w *World) forgets() {
	if w.disk.atRisk {
		w.excused = true
		for _, f := range w.files {
			f.mine = netwatch.Replacement{}
		}
		clear(w.dues)
		w.cert.told = ""
	}
}

// boots starts the unit anew after a power cut.
func (u *unit) boots() {
	for _, j := range u.jobs {
		j.over = true
	}
	clear(u.jobs)
	u.starts = nil
	u.bus.HangUp()
	u.begin()
}

// callers are those of one life.
type callers struct{ *life }

// Admit lets everybody in.
func (c callers) Admit([]uint32) error { return nil }

// Serve takes the daemon.
func (c callers) Serve(d control.Daemon) <-chan error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.daemon = d
	return nil
}

// Close has nobody ask any more.
func (c callers) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.daemon = nil
}

// HangUp does nothing.
func (c callers) HangUp() error { return nil }

// logged reads the log of a life: it says which runs have ended.
type logged struct{ *life }

// Write takes a line.
func (l logged) Write(line []byte) (int, error) {
	var e struct {
		Message, ID, Event, Rule, Step, Outcome, Error, Detail string
		IDs                                                    []string
		Retry                                                  time.Time
		Fields                                                 map[string]string
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, fmt.Errorf("reading the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dead:
	case e.Message == "configuration reloaded":
		l.force()
	case e.Message == netwatch.EntryRun:
		l.promised.ended(e.Rule, append(e.IDs, e.ID))
		l.says(fmt.Sprintf("a run of %q ends: %s", e.Rule, e.Outcome), "")
		l.owes(e.Rule, e.ID, e.Outcome)
		l.tries(promise{e.Rule, e.ID}, e.Outcome, !e.Retry.IsZero() || !l.wanted.has(e.Rule))
	case e.Message == netwatch.EntryEvent && e.Detail == "": // Else it is taken up
		l.event(e.Event, e.Fields)
	case e.Message == netwatch.EntryStep:
		verb, _, _ := strings.Cut(e.Step, " ")
		l.says(fmt.Sprintf("%q, %s: %s", e.Rule, verb, e.Outcome), e.Error)
		switch {
		case verb == "http":
			l.noticed(e.ID, e.Outcome)
		case verb == "tell" && e.Outcome != string(netwatch.Failed) && !l.broker.hasTold(e.ID):
			l.broken("it is said that others are told, and they are not")
		}
	}
	return len(line), nil
}

// event looks at one that was accepted. w.mu is held.
func (l *life) event(name string, fields map[string]string) {
	switch {
	case name == netwatch.Due:
		l.due(fields["at"])
	case strings.HasPrefix(name, "peer-"):
		l.peer(name, fields)
	case name == netwatch.CertRenewed:
		l.renewed(fields["new"])
	case l.wrote(fields["old"], fields["new"]):
		l.broken("a source tells of what netwatch wrote")
	}
}

// says adds what the log says to the story. w.mu is held.
func (w *World) says(text, why string) {
	w.story.said(w.now(), text, strings.ReplaceAll(why, w.dir, ""))
}

// wrote says whether it was netwatch who made the file what it is, from that. w.mu is held.
func (w *World) wrote(from, to string) bool {
	return to != "" && slices.ContainsFunc(w.files, func(f *file) bool { return f.mine.To == to && f.mine.From == from })
}
