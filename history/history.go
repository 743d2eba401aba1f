// Package history keeps what was: every entry that netwatch reports, as lines of JSON in
// the state directory, with one older file each, bounded, and so across restarts. Those
// about our public address stand a second time beside the others, where nothing else
// pushes them out. To lose history never stops a run: what the disk refuses is counted
// and said, and netwatch goes on.
package history

import (
	"time"

	"netwatch"
)

// The names in the state directory. Each file has one before it, which is put away when
// it is full.
const (
	// allName is every entry that is kept.
	allName = "history.jsonl"
	// addressesName is those about our public address.
	addressesName = "addresses.jsonl"
	// beforeSuffix is what the name of the file before has more.
	beforeSuffix = ".before"
)

const (
	// maxFile is how large a file becomes, in bytes: about 40,000 entries.
	maxFile = 8 << 20
	// maxLine is how long a line can be. What is longer is none of ours.
	maxLine = 64 << 10
)

// A Query says which entries are wanted.
type Query struct {
	// Since and Until bound the time of the entries: not before Since, and before Until.
	// Zero is no bound.
	Since, Until time.Time
	// Addresses asks for those alone that are about our public address: its changes, the
	// runs because of them, and outages. They are kept for longer than the others.
	Addresses bool
}

// base is the name of the newest file that has them.
func (q Query) base() string {
	if q.Addresses {
		return addressesName
	}
	return allName
}

// Wants says whether an entry is wanted.
func (q Query) Wants(e netwatch.Entry) bool {
	return q.wants(e.Time) && (!q.Addresses || aboutAddress(e))
}

// wants says whether an entry of that time is wanted.
func (q Query) wants(at time.Time) bool {
	return !at.Before(q.Since) && (q.Until.IsZero() || at.Before(q.Until))
}

// aboutAddress says whether an entry is about our public address.
func aboutAddress(e netwatch.Entry) bool {
	return e.Moments != nil || e.Kind == netwatch.EntryOutage
}
