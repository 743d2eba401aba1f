package hooks

import (
	"time"

	"netwatch"
)

// A change is what a run knows of the change of our address because of which it runs. It
// is nil if there was none.
type change struct {
	noticed, after string
	moments        netwatch.Moments
	// righting is when the last step began that made right what callers are told.
	righting time.Time
}

// changeOf is the change that an event tells of, or nil.
func changeOf(ev netwatch.Event) *change {
	if ev.Moments == nil {
		return nil
	}
	return &change{noticed: ev.Noticed, after: ev.After, moments: *ev.Moments}
}

// with is both changes as one: callers may be wrong since the first of them. One before
// which there was no address wrongs nobody.
func (c *change) with(other *change) *change {
	switch {
	case other == nil:
		return c
	case c == nil:
		return other
	}
	first, second := *c, *other
	if f, s := first.moments.Confirmed, second.moments.Confirmed; f.IsZero() || !s.IsZero() && s.Before(f) {
		first, second = second, first
	}
	m, n := &first.moments, second.moments
	m.Rewritten, m.Restarted = later(m.Rewritten, n.Rewritten), later(m.Restarted, n.Restarted)
	m.Proven = later(m.Proven, n.Proven)
	first.righting = later(first.righting, second.righting)
	return &first
}

// did notes the moments of a step that has ended.
func (c *change) did(step netwatch.Step, as netwatch.Outcome, began time.Time) {
	switch now := time.Now(); {
	case c == nil:
	case step.Gate && as == netwatch.Changed:
		c.moments.Rewritten, c.righting = now, began
	case step.Applies && as == netwatch.Changed:
		c.moments.Restarted, c.righting = now, began
	case step.Proof && (as == netwatch.Changed || as == netwatch.Unchanged):
		c.moments.Proven = now
	}
}

// told puts what is known of the change into the entry of a run.
func (c *change) told(e *netwatch.Entry) {
	if c != nil {
		moments := c.moments
		e.Noticed, e.After, e.Moments = c.noticed, c.after, &moments
	}
}

// wrong is for how long callers were wrong, once all is right, or nil if they were not.
// The address became another after it was last confirmed, and before the new one was
// accepted; and what callers are told became right after the last step that did it began,
// and before that had ended or was proven.
func (c *change) wrong() *netwatch.Wrong {
	if c == nil || c.moments.Confirmed.IsZero() || c.moments.Rewritten.IsZero() && c.moments.Restarted.IsZero() {
		return nil
	}
	m := c.moments
	right := later(m.Rewritten, m.Restarted)
	if m.Proven.After(right) {
		right = m.Proven
	}
	w := netwatch.Wrong{Most: max(0, right.Sub(m.Confirmed).Seconds())}
	if !m.Rewritten.IsZero() { // Otherwise a run before a restart of netwatch may have made it right
		w.Least = max(0, c.righting.Sub(m.Accepted).Seconds())
	}
	return &w
}
