package control

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// crowd is how many callers at once are worth another processor: while one
	// event waits for the disk, the others are read.
	crowd = 2
	// crowdProcessors is how many processors the runtime then has.
	crowdProcessors = 2
	// calm is how long there is no crowd until it is quiet again, as well after
	// the start.
	calm = 10 * time.Second
)

// An effort is how much of the machine the runtime takes: the processors that it
// was given as long as callers come one by one, and more for a crowd. Once it is
// quiet, the memory that it took to start, or to serve a crowd, is given back:
// the runtime by itself keeps four megabytes for ever (debug.SetGCPercent).
type effort struct {
	usual int // processors

	mu      sync.Mutex
	crowded bool
	rest    *time.Timer
}

func newEffort() *effort {
	e := &effort{usual: runtime.GOMAXPROCS(0)}
	e.rest = time.AfterFunc(calm, e.relax)
	return e
}

// callers takes note of how many are connected.
func (e *effort) callers(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.crowded == (n >= crowd) {
		return
	}
	if e.crowded = n >= crowd; !e.crowded {
		e.rest.Reset(calm)
		return
	}
	if e.usual < crowdProcessors {
		runtime.GOMAXPROCS(crowdProcessors)
	}
}

// relax gives back what is not needed when it is quiet.
func (e *effort) relax() {
	if e.rests() {
		debug.FreeOSMemory() // no caller waits for it
	}
}

// rests gives back the processors, unless there is a crowd.
func (e *effort) rests() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.crowded && runtime.GOMAXPROCS(0) != e.usual {
		runtime.GOMAXPROCS(e.usual)
	}
	return !e.crowded
}

// stop leaves it as it is.
func (e *effort) stop() { e.rest.Stop() }
