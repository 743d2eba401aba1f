package simulate

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var seeds = flag.Int("seeds", 20, "how many seeds")
var first = flag.Uint64("first", 1, "the first seed")

func live(t *testing.T, p Plan) (s *Story) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { s = Live(p, dir) })
	return s
}

func TestSeeds(t *testing.T) {
	began := time.Now()
	var span time.Duration
	polls, lives, restarts := 0, 0, 0
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		p := NewPlan(seed, 30, 10*time.Minute)
		s := live(t, p)
		span += p.Length() + stillTime
		polls += s.Polls
		lives += s.Lives
		restarts += s.Restarts
		if len(s.Broken) > 0 {
			t.Errorf("seed %d:\n%s", seed, s)
		}
	}
	t.Logf("%s in %s: %d polls, %d lives, %d restarts", span, time.Since(began), polls, lives, restarts)
}

// A seed gives the same story again.
func TestSameSeedSameStory(t *testing.T) {
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		p := NewPlan(seed, 30, 10*time.Minute)
		one, two := live(t, p), live(t, p)
		if diff := cmp.Diff(one.String(), two.String()); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		} else if one.Sum != two.Sum {
			t.Errorf("seed %d: what is not told differs", seed)
		}
	}
}
