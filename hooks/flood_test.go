package hooks

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"netwatch"
)

// A holding is what this process holds: live bytes of the heap, goroutines and
// file descriptors.
type holding struct{ heap, goroutines, files int }

func held(t *testing.T) holding {
	t.Helper()
	runtime.GC()
	runtime.GC() // What the first one has ended is gone after the second.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return holding{int(m.HeapAlloc), runtime.NumGoroutine(), len(files)}
}

// A hundred thousand events, each with a caller who follows it, leave nothing
// behind.
func TestEventsLeaveNothingBehind(t *testing.T) {
	const events, atOnce = 100_000, 500
	r := rule(plain(result(netwatch.Changed)))
	r.Settle = time.Millisecond
	b := open(t, t.TempDir(), r)
	b.report = func(netwatch.Entry) {} // Not what this is about: history has a test of its own.
	defer b.close(t)
	flood := func(n int) holding {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for i := range n / atOnce {
					ended := make(chan struct{}, 1)
					ev := netwatch.NewEvent("x", netwatch.Fired, map[string]string{"n": strconv.Itoa(i)})
					_, err := b.Accept(ev, func(e netwatch.Entry) {
						if e.Kind == netwatch.EntryRun {
							ended <- struct{}{}
						}
					})
					if err != nil {
						t.Error(err)
						return
					}
					<-ended
				}
			})
		}
		all.Wait()
		return held(t)
	}
	before := flood(events / 10)
	after := flood(events)
	t.Logf("before %+v, after %d more events %+v", before, events, after)
	if after.heap > before.heap+1<<20 || after.goroutines > before.goroutines+2 || after.files > before.files {
		t.Errorf("before %+v, after %d more events %+v", before, events, after)
	}
}
