package netwatch

import "slices"

// MaxCoalesced is how many events of one run are remembered.
const MaxCoalesced = 64

// Coalesce is events with ev as the newest, at most MaxCoalesced of them. The
// slice given is not written into.
func Coalesce(events []Event, ev Event) []Event {
	all := append(slices.Clone(events), ev)
	return all[max(0, len(all)-MaxCoalesced):]
}
