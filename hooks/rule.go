// Package hooks decides which rules an event matches, and when and in which order
// their steps run. It knows neither sources nor verbs. Matching is a pure function
// (this file and table.go); time and goroutines are in dispatcher.go and lane.go.
package hooks

import (
	"path"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// A Rule says what to do on which events. Every rule that matches runs; their
// order disables none.
type Rule struct {
	// Name is unique in its table and names the rule in reports and in the
	// state that survives a restart.
	Name string
	// On are the names of the events it runs on; one of them suffices.
	On []string
	// From are the names of the sources whose events count; empty is any.
	From []string
	// Match has a glob for each field of the event that must fit. A glob is one of
	// path.Match in which * and ? also stand for a slash.
	Match map[string]string
	// Settle is a window opened by the first event and not prolonged by later
	// ones: all events within it are one run.
	Settle time.Duration
	// Prompt says that the window ends sooner, when the looks that found its events out
	// have heard all that they asked for.
	Prompt bool
	// Timeout is the deadline of one run.
	Timeout time.Duration
	// Retry is how long a failing run is tried again before it is given up.
	Retry time.Duration
	// Do are the steps, in order.
	Do []netwatch.Step
}

// The defaults of a rule's durations.
const (
	DefaultSettle  = 500 * time.Millisecond
	DefaultTimeout = 2 * time.Minute
	DefaultRetry   = time.Hour
)

// fits says whether the rule runs on an event.
func (r *Rule) fits(ev netwatch.Event) bool {
	if !slices.Contains(r.On, ev.Name) || len(r.From) > 0 && !slices.Contains(r.From, ev.Source) {
		return false
	}
	for field, glob := range r.Match {
		value, given := ev.Fields[field]
		if !given && looksAgain(ev) {
			continue
		}
		if ok, err := path.Match(flat(glob), flat(value)); err != nil || !ok {
			return false
		}
	}
	return true
}

// looksAgain says whether an event about our address was fired by hand, which means
// "look again and act": a field that it does not have excludes no rule.
func looksAgain(ev netwatch.Event) bool {
	return ev.About() == netwatch.AboutAddress && ev.Source == netwatch.Fired
}

// notices is the index of the first notice; all steps behind it are notices.
func (r *Rule) notices() int {
	if i := slices.IndexFunc(r.Do, func(s netwatch.Step) bool { return s.Notice }); i >= 0 {
		return i
	}
	return len(r.Do)
}

// gated says whether step i depends on a gate before it.
func (r *Rule) gated(i int) bool {
	return r.Do[i].Gated && slices.ContainsFunc(r.Do[:i], func(s netwatch.Step) bool { return s.Gate })
}

// lastGated says whether step i is the last that waits for a gate before it.
func (r *Rule) lastGated(i int) bool {
	for later := i + 1; later < r.notices(); later++ {
		if r.gated(later) {
			return false
		}
	}
	return r.gated(i)
}

// after is where a run goes on that has done these steps: behind them, if the rule
// begins with them, and otherwise at the first.
func (r *Rule) after(done []string) int {
	if len(done) > len(r.Do) || !slices.Equal(r.Texts()[:len(done)], done) {
		return 0
	}
	return len(done)
}

// flat is text in which path.Match sees no slash: a file is text like any other.
func flat(text string) string { return strings.ReplaceAll(text, "/", "\x00") }
