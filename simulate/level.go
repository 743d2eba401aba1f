package simulate

import (
	"runtime"
	"testing/synctest"
)

// A weight is what netwatch takes, with the world around it.
type weight struct{ goroutines, bytes int }

// The bounds of what a netwatch that has lived for long may take more than one that has just
// begun: what it remembers of what was, as in the metrics.
const mostBytes = 64 << 10

// level compares the netwatch of now with a fresh one in the same world: whatever has befallen
// it, it takes no more goroutines, and so no more lanes and no more that waits, and no more
// memory, in which timers are too.
func (w *World) level() {
	long := w.weigh()
	w.mu.Lock()
	l := w.life
	l.ending = true
	w.mu.Unlock()
	l.cancel()
	l.over()
	w.start()
	pass(settledTime)
	fresh := w.weigh()
	w.mu.Lock()
	defer w.mu.Unlock()
	if more := long.goroutines - fresh.goroutines; more > 0 {
		w.broken("netwatch has %d goroutines more than a fresh one", more)
	}
	if more := long.bytes - fresh.bytes; more > mostBytes {
		w.broken("netwatch has %d bytes more than a fresh one", more)
	}
	w.story.Heaviest = long.bytes - fresh.bytes
}

// weigh is what is taken now.
func (w *World) weigh() weight {
	synctest.Wait()
	runtime.GC() // Twice: what is pooled goes with the second
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.mu.Lock()
	defer w.mu.Unlock()
	return weight{runtime.NumGoroutine() - w.busy, int(m.HeapAlloc)}
}

// beside does something of the world's beside the rest. w.mu is held.
func (w *World) beside(do func()) {
	w.busy++
	w.hands.Go(func() {
		do()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	})
}
