package sources

import (
	"net/netip"
	"slices"
	"time"
)

// The rules by which what a router says counts. It never says what our address is: it
// can only have the servers asked.
const (
	// firstHintPause is how long after one hint the next counts. A hint that the servers
	// do not bear out doubles it, up to longestHintPause, until they bear one out.
	firstHintPause   = 5 * time.Second
	longestHintPause = 10 * time.Minute
	// epochSlack is how far what a router counts may be behind our clock, and an eighth
	// of the time that went by (RFC 6886, 3.6).
	epochSlack = 2 * time.Second
	// judgement is how long after the last look for a hint it is judged.
	judgement = time.Second
	// mostExtra is how many looks one hint may bring because the router goes on to say
	// other addresses.
	mostExtra = 2
)

// lookAgain is when the servers are asked again after a hint, as long as they and the
// router disagree: a line that has just come up may need a while, and the router's first
// saying may have been about what went before.
var lookAgain = []time.Duration{time.Second, 3 * time.Second}

// hints is what a router said, and what follows. It has no clock and asks nobody.
type hints struct {
	// address is what the router says, since when. told is what it said at the last hint,
	// and was at the one before.
	address, told, was netip.Addr
	since              time.Time
	// heard is when it last said anything, and epoch what it counted then; zero if it
	// never did.
	heard time.Time
	epoch uint32
	// unsure says that since it began anew it has not said its address.
	unsure bool

	// pause is how long after the last hint the next one counts, and late that there
	// was one meanwhile.
	pause time.Duration
	last  time.Time
	late  bool
	// proven says that the servers bore the last hint out.
	proven bool
	// open says that the servers may still bear out the last hint: before was what they
	// had said until then, and looks are when they are to be asked again.
	open   bool
	before netip.Addr
	looks  []time.Time
	extra  int
}

// hear takes a saying. It says whether the router says something new: another address,
// or that it has begun anew. Its first saying is never new: nothing is known before.
func (h *hints) hear(w saying, now time.Time) (news bool) {
	first := h.since.IsZero()
	if w.ageless { // As if it had gone on
		w.epoch = h.epoch + uint32(max(0, min(now.Sub(h.heard), time.Hour))/time.Second)
	}
	news = w.bare || h.restarted(w, now)
	h.heard, h.epoch = now, w.epoch
	if w.bare {
		h.unsure = true
		return news
	}
	if h.unsure = false; w.address != h.address || first {
		h.address, h.since = w.address, now
		news = !first
	}
	if first {
		h.told = w.address
	}
	return news
}

// moved notes that from now on another router is heard, which counts for itself. What
// it says is compared with what the one before said.
func (h *hints) moved() { h.heard = time.Time{} }

// restarted says whether a router counts less than it would had it gone on counting.
func (h *hints) restarted(w saying, now time.Time) bool {
	if h.heard.IsZero() {
		return false
	}
	went := now.Sub(h.heard)
	least := time.Duration(h.epoch)*time.Second + went - went/8 - epochSlack
	return time.Duration(w.epoch)*time.Second < least
}

// agree says whether router and servers say the same.
func (h *hints) agree(known netip.Addr) bool {
	return !h.unsure && h.address.IsValid() && h.address == known
}

// hint takes news of the router. It says whether that is a hint that counts: then the
// servers are to be asked now.
func (h *hints) hint(known netip.Addr, now time.Time) bool {
	switch {
	case h.open:
		h.further(known, now)
		return false
	case h.proven && h.address.IsValid() && !h.agree(known): // True once, and goes on changing
	case now.Before(h.last.Add(h.pause)):
		h.late = true
		return false
	}
	h.begin(known, now)
	return true
}

// further takes news while a hint is open: that is looked at too, or counts later.
func (h *hints) further(known netip.Addr, now time.Time) {
	switch {
	case !h.address.IsValid() || h.agree(known):
	case h.extra < mostExtra && !h.doubted():
		h.extra, h.looks = h.extra+1, append(h.looks, now)
	default:
		h.late = true
	}
}

// begin opens a hint. One that says what the servers have said already needs no look.
func (h *hints) begin(known netip.Addr, now time.Time) {
	h.open = !h.agree(known) || h.address == h.told
	h.was, h.told = h.told, h.address
	h.last, h.late, h.proven, h.before = now, false, false, known
	h.extra, h.looks = 0, h.looks[:0]
	if !h.open || h.doubted() {
		return
	}
	for _, after := range lookAgain {
		h.looks = append(h.looks, now.Add(after))
	}
}

// doubted says that so many hints of the router were false that the pause is at its
// longest. Such a one has the servers asked once, and is told of when they bear it out.
func (h *hints) doubted() bool { return h.pause >= longestHintPause }

// due says whether it is time to look again, and takes that off the list.
func (h *hints) due(known netip.Addr, now time.Time) bool {
	ripe := func(at time.Time) bool { return !at.After(now) }
	if !slices.ContainsFunc(h.looks, ripe) {
		return false
	}
	h.looks = slices.DeleteFunc(h.looks, ripe)
	return !h.agree(known)
}

// judge ends the last hint, once the servers have borne it out, as they say here, or
// have had their time. A restart after which the router says what they say was no lie,
// but a hint like any other.
func (h *hints) judge(known netip.Addr, now time.Time) (borneOut bool) {
	switch {
	case known != h.before && (h.open || h.agree(known)):
		borneOut = h.open
		h.proven = borneOut
		h.open, h.pause, h.before, h.looks = false, firstHintPause, known, h.looks[:0]
	case h.open && len(h.looks) == 0 && !now.Before(h.judged()):
		h.open, h.pause = false, min(2*h.pause, longestHintPause)
	}
	return borneOut
}

// judged is when the last hint has had its time.
func (h *hints) judged() time.Time {
	if h.doubted() {
		return h.last.Add(judgement)
	}
	return h.last.Add(lookAgain[len(lookAgain)-1] + judgement)
}

// catchUp says whether a hint that came before its time counts now.
func (h *hints) catchUp(known netip.Addr, now time.Time) bool {
	if !h.late || h.open || now.Before(h.last.Add(h.pause)) {
		return false
	}
	if h.late = false; h.agree(known) {
		return false
	}
	h.begin(known, now)
	return true
}

// next is when something is due by itself; zero if nothing is.
func (h *hints) next() (at time.Time) {
	all := slices.Clone(h.looks)
	switch {
	case h.open:
		all = append(all, h.judged())
	case h.late:
		all = append(all, h.last.Add(h.pause))
	}
	if len(all) == 0 {
		return at
	}
	return slices.MinFunc(all, time.Time.Compare)
}
