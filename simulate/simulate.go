// Package simulate is a world in which the whole daemon lives through years in minutes: in
// a synctest bubble, where time passes as soon as everybody waits. All that it touches is
// played: servers, line, disk, systemd, and what becomes of the machine.
//
// A seed makes a Plan of what befalls the world, one thing after the other. What comes of
// it is the Story, and the same seed tells the same story: the world draws nothing but
// from the seed, every answer takes a time of its own, and it hands over one thing at a
// time and waits for rest. At each effect it looks whether a promise is broken.
package simulate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Line is one line of a story.
type Line struct {
	// At is how long after the beginning.
	At time.Duration
	// Text says what happened.
	Text string
	// Said is whether it is what a log said, and nothing that was done.
	Said bool
	// Why is what the log said more. Which of several reasons it has is chance at times.
	Why string
}

// A Story is what happened in a world.
type Story struct {
	lines []Line
	// Sum is of everything, also of what is not told, whatever the order within an instant.
	Sum uint64
	Count
	// Heaviest is how many bytes more a netwatch took than a fresh one.
	Heaviest int
	// Broken are the promises that were broken.
	Broken []Line
}

// Lines are the story in order; what happened in one instant has none.
func (s *Story) Lines() []Line {
	lines := slices.Clone(s.lines)
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Text, b.Text))
	})
	return lines
}

// String is the story for a person.
func (s *Story) String() string {
	var text strings.Builder
	for _, l := range s.Lines() {
		fmt.Fprintf(&text, "%s\n", l)
	}
	return text.String()
}

// String is the line for a person.
func (l Line) String() string {
	return strings.TrimSpace(fmt.Sprintf("%14s  %s %s", l.At, l.Text, l.Why))
}

// hear takes up what is not told.
func (s *Story) hear(at time.Duration, text string) {
	s.Sum += mix(uint64(at), hashed(text))
}

// tell adds a line.
func (s *Story) tell(at time.Duration, text string) {
	s.hear(at, text)
	s.lines = append(s.lines, Line{At: at, Text: text})
}

// said adds a line of a log.
func (s *Story) said(at time.Duration, text, why string) {
	s.lines = append(s.lines, Line{at, text, true, why})
}

// unsaid forgets what a log said in this instant: whether it came to that before a kill is
// chance.
func (s *Story) unsaid(at time.Duration) {
	s.lines = slices.DeleteFunc(s.lines, func(l Line) bool { return l.Said && l.At == at })
}

// broken adds a line about a promise.
func (s *Story) broken(at time.Duration, text string) {
	s.tell(at, "BROKEN: "+text)
	s.Broken = append(s.Broken, Line{At: at, Text: text})
}

// hashed is a number made of a text, the same in each process.
func hashed(text string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(text) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// mix makes a number of several that looks like chance.
func mix(all ...uint64) (x uint64) {
	for _, a := range all {
		x = (x ^ a) * 0x9e3779b97f4a7c15
		x ^= x >> 32
		x *= 0xd6e8feb86659fd93
		x ^= x >> 29
	}
	return x
}

// share is a number as one from 0 to 1.
func share(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// between is a span that a number picks, in nanoseconds: no two are the same by chance.
func between(x uint64, least, most time.Duration) time.Duration {
	return least + time.Duration(share(x)*float64(most-least))
}

// exponential is a span of which many are around a mean.
func exponential(x uint64, mean time.Duration) time.Duration {
	return time.Duration(-math.Log(1-share(x)) * float64(mean))
}
