// Package report says what happened and for how long callers were wrong: for a terminal
// and a mail as text, and as a page with pictures. It is for the command alone; the daemon
// has no part in it.
//
// What flows through it: entries of history (Reckoner), what they come to (Report), what
// is said of that in the reader's language (sections), and the two ways in which it is
// shown (Text, Page).
package report

import (
	"strings"
	"time"

	"netwatch"
	"netwatch/history"
)

// A Report is what history comes to between two moments. Texts that others wrote are
// printable and bounded.
type Report struct {
	// Host is the name of this machine, and Version that of netwatch.
	Host    string `json:"host"`
	Version string `json:"version"`
	// Since and Until bound what it is about, and From is when the first of that was: it
	// is zero if there is none. All times are in the time zone of Until.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	From  time.Time `json:"from,omitzero"`
	// RestFrom is since when all else is known, where what is about our address has been
	// kept for longer.
	RestFrom time.Time `json:"rest_from,omitzero"`
	// Addresses are those that were ours, oldest first, and Outages when nobody said
	// which it is.
	Addresses []history.Address `json:"addresses"`
	Outages   []Outage          `json:"outages"`
	Changes   Changes           `json:"changes"`
	Wrong     Wrong             `json:"wrong"`
	Failures  []Failure         `json:"failures"`
	Proofs    []Proof           `json:"proofs"`
	Peers     []Peer            `json:"peers"`
	// Skipped says what of the history could not be read.
	Skipped []string `json:"skipped"`
}

// A Reckoner makes a Report of entries. Add and AddAddress get each its own, oldest first.
type Reckoner struct {
	since, until time.Time
	// first is the first of all entries, and about the first of those about our address.
	first, about time.Time
	addresses    history.Addresses
	outages      outages
	wrong        wrong
	failures     failures
	proofs       proofs
	peers        peers
}

// NewReckoner makes one for what was between two moments. The second says the time zone.
func NewReckoner(since, until time.Time) *Reckoner {
	return &Reckoner{since: since.In(until.Location()), until: until}
}

// Queries are what Add and AddAddress want of history: to know whose address it was at
// the beginning, the changes before it too.
func (r *Reckoner) Queries() (all, addresses history.Query) {
	return history.Query{Since: r.since, Until: r.until}, history.Query{Until: r.until, Addresses: true}
}

// Add adds an entry of those between the two moments. What is about our address it leaves
// to AddAddress.
func (r *Reckoner) Add(e netwatch.Entry) {
	r.first = earliest(r.first, e.Time)
	r.failures.add(e)
	r.proofs.add(e)
	r.peers.add(e)
}

// AddAddress adds an entry of those about our address.
func (r *Reckoner) AddAddress(e netwatch.Entry) {
	r.addresses.Add(e)
	r.outages.add(e)
	if !e.Time.Before(r.since) {
		r.about = earliest(r.about, e.Time)
		r.wrong.add(e)
	}
}

// Report is what all that was added comes to, on a machine of that name and by a version
// of netwatch. Skipped is what of the history could not be read, and from where it is.
func (r *Reckoner) Report(host, version string, skipped []string) Report {
	report := Report{
		Host: clean(host), Version: clean(version), Skipped: cleanAll(skipped), Since: r.since, Until: r.until,
		Outages: r.outages.within(r.since, r.until), Wrong: r.wrong.all(),
		Failures: r.failures.all(), Proofs: r.proofs.all(), Peers: r.peers.all(r.until),
	}
	all := r.addresses.Of(history.Query{}, r.until)
	report.Addresses = r.standing(all)
	report.From, report.RestFrom = r.known(report.Addresses)
	report.Changes = changesOf(all, report.From, r.until)
	return report
}

// known is since when something is known, and since when all else is, if that is later:
// an entry about our address is among all entries too, unless it was pushed out there.
func (r *Reckoner) known(addresses []history.Address) (from, rest time.Time) {
	from = earliest(r.first, r.about)
	if len(addresses) > 0 && !addresses[0].From.After(r.since) {
		from = r.since // It is known what stood then
	}
	if !r.about.IsZero() && (r.first.IsZero() || r.about.Before(r.first)) {
		rest = earliest(r.first, r.until)
	}
	return inZone(from, r.until), inZone(rest, r.until)
}

// inZone is a moment, if it is one, in the time zone of another.
func inZone(at, of time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.In(of.Location())
}

// standing are the addresses that were ours between the two moments.
func (r *Reckoner) standing(all []history.Address) []history.Address {
	standing := []history.Address{}
	for _, a := range all {
		if a.Until.IsZero() || a.Until.After(r.since) {
			a.From, a.Until, a.By = inZone(a.From, r.until), inZone(a.Until, r.until), cleanAll(a.By)
			a.Address = a.Address.WithZone("") // A zone is any text
			standing = append(standing, a)
		}
	}
	return standing
}

// earliest is the earlier of two moments, either of which may be none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// mostText is how many bytes of a text of others are shown.
const mostText = 1 << 10

// clean makes a text of others printable, and not too long.
func clean(text string) string {
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	return netwatch.Printable(text)
}

func cleanAll(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = clean(text)
	}
	return all
}
