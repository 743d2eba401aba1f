package simulate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

// A World is a machine, its line and what is beyond. One mutex guards all of it; nobody
// holds it while he waits.
type World struct {
	seed uint64
	dir  string // on a real disk: the configurations, which are read as they are
	born time.Time

	mu      sync.Mutex
	story   Story
	line    line
	all     []*server
	disk    *disk
	files   []*file
	router  *router
	cert    *cert
	program program
	// broker is that of all machines, and machines are the others.
	broker   *broker
	machines []*machine
	notices  string
	kernels  []*kernel
	// wanted are the settings in the configuration, and inForce those that netwatch goes by.
	// usual are those at first and in the end.
	wanted, inForce, usual settings
	unit                   *unit
	bus                    *systemdtest.Played
	busUp                  bool
	life                   *life
	lives                  sync.WaitGroup
	hands                  sync.WaitGroup // of what the world does
	busy                   int            // how many they are
	mood                   mood
	// promised are the ids of events that were accepted and have not ended.
	promised promises
	// still is since when nothing befell the world.
	still time.Time
	ended bool
	// offset is how much the clock on the wall is ahead, timed when it was set or the timer
	// began, and suspended how often the machine was; asked is when a server was last asked.
	offset, timed, asked time.Duration
	suspended            int
	// dues are the times that were told last.
	dues map[string]time.Time
	// forged says that somebody forges answers, and healed that nothing more befalls.
	forged, healed bool
	// excused says that the disk has refused what was to survive.
	excused bool
}

// Live lets a world go by a plan, in a synctest bubble, with its files in an empty
// directory. It returns when the daemon has ended.
func Live(p Plan, dir string) *Story {
	w := &World{seed: p.Seed, dir: dir, born: time.Now(), busUp: true, notices: "take it", dues: map[string]time.Time{}}
	w.promised.open, w.promised.over = map[promise]bool{}, map[promise]bool{}
	w.build()
	w.start()
	for _, s := range p.Stimuli {
		pass(s.After)
		synctest.Wait()
		w.befall(s)
		synctest.Wait()
	}
	w.end()
	return &w.story
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// draw is a number by a name, another at each moment: who asks twice in one gets the same,
// so that it does not matter how often code has asked before.
func (w *World) draw(name string) uint64 {
	return mix(w.seed, hashed(name), uint64(w.now()))
}

// lag is how long something takes: never twice the same.
func (w *World) lag(name string, least, most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return between(w.draw(name), least, most)
}

// now is how old the world is.
func (w *World) now() time.Duration { return time.Since(w.born) }

// tell adds to the story. w.mu is held.
func (w *World) tell(format string, args ...any) {
	w.story.tell(w.now(), strings.ReplaceAll(fmt.Sprintf(format, args...), w.dir, ""))
}

// broken says that a promise is broken. w.mu is held.
func (w *World) broken(format string, args ...any) {
	w.story.broken(w.now(), fmt.Sprintf(format, args...))
}

// build makes the world as it is at first.
func (w *World) build() {
	w.line = newLine(w)
	w.router = &router{World: w, does: "says all"}
	for i := range many {
		w.all = append(w.all, newServer(w, i))
	}
	w.disk = newDisk(w)
	w.files = newFiles(w)
	for _, f := range w.files {
		f.write(fmt.Sprintf(f.form, w.line.families[netwatch.IPv4].address))
	}
	w.newCert()
	w.broker = newBroker(w)
	w.newMachines()
	w.replace("password", "secret")
	w.unit = newUnit(w)
	w.bus = systemdtest.Play(w.unit)
	w.usual = w.firstSettings()
	w.configure(w.usual)
	if err := os.MkdirAll(w.path("state"), 0o700); err != nil {
		panic(err)
	}
	w.still = time.Now()
}

func (w *World) path(name string) string { return filepath.Join(w.dir, name) }

const unitName = "synapse-coturn.service"

// confText is the server's file, with its address.
const confText = `listening-port=3478
realm=turn.example.org
use-auth-secret
static-auth-secret=north
external-ip=%s
`

// befall has a stimulus happen.
func (w *World) befall(s Stimulus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	for _, k := range kinds {
		if k.kind == s.Kind {
			w.story.fault(string(s.Kind))
			k.do(w, s.N)
		}
	}
	w.still = time.Now()
}

// stillTime is for how long the world holds still in the end: damping may hold an address
// for five minutes, a failed run waits for a minute and a half, and a job hangs for two.
const stillTime = 12 * time.Minute

// end makes the world well, waits, and sees what it has come to.
func (w *World) end() {
	pass(w.lag("end", time.Second, time.Minute))
	synctest.Wait()
	w.mu.Lock()
	w.heal()
	w.mu.Unlock()
	pass(stillTime)
	synctest.Wait()
	w.mu.Lock()
	w.look()
	w.judge()
	w.mu.Unlock()
	w.level()
	w.mu.Lock()
	w.ended = true
	l := w.life
	w.mu.Unlock()
	l.cancel()
	w.lives.Wait()
	w.hands.Wait()
}
