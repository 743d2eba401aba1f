package history

import (
	"fmt"
	"time"

	"netwatch"
)

// mostAnHour is how many entries of one source, and of one rule, are kept in an hour:
// more than a true one has. Those beyond are counted.
const mostAnHour = 600

// A quota counts entries by whom they are of.
type quota map[string]*hour

// An hour begins with the first entry.
type hour struct {
	ends  time.Time
	count int
}

// whose is whom an entry counts for.
func whose(e netwatch.Entry) string {
	if e.Source == "" && e.Rule != "" {
		return "rule " + e.Rule
	}
	return e.Source
}

// take says whether one more of them is kept. The note, where there is one, is to be
// kept in place of those that are not.
func (q quota) take(who string, now time.Time) (kept bool, note string) {
	h := q[who]
	if h == nil {
		h = &hour{ends: now.Add(time.Hour)}
		q[who] = h
	}
	h.count++
	if h.count == mostAnHour+1 {
		note = fmt.Sprintf("more than %d entries in an hour: the others until %s are counted and not kept", mostAnHour,
			h.ends.Local().Format("15:04:05"))
	}
	return h.count <= mostAnHour, note
}

// over forgets the hours that are over at that moment, and returns a note for each that
// had too many.
func (q quota) over(now time.Time) (notes map[string]string) {
	for who, h := range q {
		if now.Before(h.ends) {
			continue
		}
		delete(q, who)
		if more := h.count - mostAnHour; more > 0 {
			if notes == nil {
				notes = map[string]string{}
			}
			notes[who] = fmt.Sprintf("entries of an hour that were counted and not kept: %d", more)
		}
	}
	return notes
}
