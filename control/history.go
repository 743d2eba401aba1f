package control

import (
	"sync"

	"netwatch"
)

// keptEntries is how many entries history remembers; the log has all of them.
const keptEntries = 1000

// followerBuffer is how many entries a follower may lag behind. One that falls behind
// further is let go.
const followerBuffer = 256

// A History holds the newest entries and hands new ones to followers.
type History struct {
	mu        sync.Mutex
	entries   []netwatch.Entry
	followers map[chan netwatch.Entry]bool
}

// NewHistory is an empty history.
func NewHistory() *History { return &History{followers: map[chan netwatch.Entry]bool{}} }

// Add appends an entry. It never blocks: a follower that does not keep up is
// let go.
func (h *History) Add(e netwatch.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, e)
	if len(h.entries) >= 2*keptEntries {
		h.entries = append([]netwatch.Entry(nil), h.entries[keptEntries:]...)
	}
	for f := range h.followers {
		select {
		case f <- e:
		default:
			h.drop(f)
		}
	}
}

// Follow returns the entries so far, oldest first, and a channel of those to come.
// The channel is closed if the follower falls behind. The caller calls leave once.
func (h *History) Follow() (past []netwatch.Entry, next <-chan netwatch.Entry, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := make(chan netwatch.Entry, followerBuffer)
	h.followers[f] = true
	past = append(past, h.entries[max(0, len(h.entries)-keptEntries):]...)
	return past, f, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(f)
	}
}

// drop lets a follower go. h.mu is held.
func (h *History) drop(f chan netwatch.Entry) {
	if h.followers[f] {
		delete(h.followers, f)
		close(f)
	}
}
