package actions

import (
	"context"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// fakeStarts remembers in memory.
type fakeStarts struct{ times []time.Time }

func (s *fakeStarts) Of(string) []time.Time { return s.times }

func (s *fakeStarts) Record(_ string, at time.Time) error {
	s.times = append(s.times, at)
	return nil
}

// step makes a step from its line.
func step(t *testing.T, env Env, line string) netwatch.Step {
	t.Helper()
	words := strings.Fields(line)
	for _, v := range Verbs {
		if v.Name == words[0] {
			s, err := v.New(env, v.Name, words[1:])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return s
		}
	}
	t.Fatalf("%s: no such verb", line)
	return netwatch.Step{}
}

// do does a step within a deadline.
func do(t *testing.T, env Env, line string, deadline time.Duration) netwatch.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return step(t, env, line).Do(ctx, netwatch.Job{})
}

// wantResult compares an outcome and words that must be in what is said.
func wantResult(t *testing.T, got netwatch.Result, outcome netwatch.Outcome, words ...string) {
	t.Helper()
	said := got.Detail
	if got.Err != nil {
		said = got.Err.Error() + " hint: " + netwatch.Hint(got.Err)
	}
	if got.Outcome != outcome || (got.Err != nil) != (outcome == netwatch.Failed) {
		t.Errorf("outcome %q (%s), want %q", got.Outcome, said, outcome)
	}
	if outcome == netwatch.Failed && got.Err != nil && netwatch.Hint(got.Err) == "" {
		t.Errorf("%v has no remedy", got.Err)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it says %q, which lacks %q", said, w)
		}
	}
}
