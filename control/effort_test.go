package control

import (
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// A crowd gets another processor, and gives it back with its memory when it has
// been quiet for a while; those who come one by one change nothing.
func TestEffort(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		e := newEffort()
		defer e.stop()
		var before, after debug.GCStats
		expect := func(when string, processors int, collected bool) {
			t.Helper()
			debug.ReadGCStats(&after)
			if got := runtime.GOMAXPROCS(0); got != processors {
				t.Errorf("%s: %d processors", when, got)
			}
			if got := after.NumGC > before.NumGC; got != collected {
				t.Errorf("%s: memory was given back: %t", when, got)
			}
			debug.ReadGCStats(&before)
		}
		debug.ReadGCStats(&before)
		for range 2 * calm / time.Second {
			e.callers(1)
			e.callers(0)
			time.Sleep(time.Second)
		}
		expect("after the start, with one now and then", 1, true)
		e.callers(1)
		expect("one", 1, false)
		for n := range 64 {
			e.callers(n + 2)
		}
		time.Sleep(2 * calm)
		expect("a crowd, for long", 2, false)
		e.callers(1)
		time.Sleep(calm / 2)
		e.callers(2)
		e.callers(1)
		time.Sleep(calm / 2)
		expect("hardly quiet", 2, false)
		time.Sleep(calm)
		expect("quiet", 1, true)
		time.Sleep(time.Hour)
		expect("an hour later", 1, false)
	})
}

// More processors than a crowd needs stay as they are.
func TestEffortOfMany(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	e := newEffort()
	defer e.stop()
	e.callers(64)
	e.callers(0)
	e.relax()
	if got := runtime.GOMAXPROCS(0); got != 8 {
		t.Errorf("%d processors", got)
	}
}
