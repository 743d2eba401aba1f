package simulate

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

var (
	seeds   = flag.Int("seeds", 200/slowness, "how many seeds")
	every   = flag.Duration("progress", 0, "how often is said at which seed it is")
	first   = flag.Uint64("first", 1, "the first seed")
	stimuli = flag.Int("stimuli", 30, "how many stimuli a seed has")
	shrinks = flag.Bool("shrink", true, "whether the plan of a failure is made as short as it can be")
	apart   = flag.Duration("apart", 10*time.Minute, "how far they are apart in the mean")
)

// TestMain spends memory to save time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1600)
	m.Run()
}

// live lets a world go by a plan.
func live(t testing.TB, p Plan) (s *Story) {
	t.Helper()
	dir := quick(t)
	in := func(*testing.T) { s = Live(p, dir) }
	synctest.Test(t.(*testing.T), in)
	return s
}

// quick is an empty directory on a disk that is none, where there is one.
func quick(t testing.TB) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "simulate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// tell fails a test with the shortest plan that breaks a promise, and its story.
func tell(t *testing.T, p Plan) {
	t.Helper()
	short := p
	if *shrinks {
		short = Shrink(short, func(p Plan) bool { return len(live(t, p).Broken) > 0 })
	}
	text := ""
	for _, s := range short.Stimuli {
		text += fmt.Sprintf("%s\n", s)
	}
	t.Errorf("seed %d breaks a promise; again with -first %[1]d -seeds 1 -stimuli %d -apart %s. By as little as\n%s\n%s",
		p.Seed, *stimuli, *apart, text, live(t, short))
}

// No promise is broken in any of these worlds.
func TestSeeds(t *testing.T) {
	began := time.Now()
	var all Count
	var span time.Duration
	heaviest := 0
	said := began
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		if *every > 0 && time.Since(said) > *every {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "%d of %d worlds, %d days\n", seed-*first, *seeds, int(span.Hours()/24))
		}
		p := NewPlan(seed, *stimuli, *apart)
		s := live(t, p)
		span += p.Length() + stillTime
		all.Add(s.Count)
		heaviest = max(heaviest, s.Heaviest)
		if len(s.Broken) > 0 {
			tell(t, p)
			return
		}
	}
	t.Logf("%d hours in %s, %s of a processor, at most %d bytes more than a fresh netwatch:%s",
		int(span.Hours()), time.Since(began).Round(time.Second), processor(), heaviest, &all)
}

// processor is for how long this process has had one.
func processor() time.Duration {
	var all unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &all) // It always can
	return (time.Duration(all.Utime.Nano()) + time.Duration(all.Stime.Nano())).Round(time.Second)
}

// A seed tells the same story again.
func TestSameSeedSameStory(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds)/6; seed++ {
		p := NewPlan(seed, *stimuli, *apart)
		one, two := live(t, p), live(t, p)
		if diff := cmp.Diff(one.Lines(), two.Lines(), cmpopts.IgnoreFields(Line{}, "Why")); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if one.Sum != two.Sum {
			t.Fatalf("seed %d: what is not told differs", seed)
		}
	}
}
