// Package state keeps what must survive a crash in one small file: the public
// addresses last believed, every run that is accepted and has not ended, what failed
// for good, and when units were started. It knows nothing of why.
package state

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"netwatch"
)

// State is what must survive.
type State struct {
	// Addresses are the public addresses last believed and accepted.
	Addresses netwatch.Addresses `json:"addresses"`
	// Runs are the runs that are accepted and have not ended, by the name of their
	// rule.
	Runs map[string]Run `json:"runs"`
	// Failures are the runs that were given up, by the name of their rule. One is
	// forgotten when the rule succeeds or somebody dismisses it.
	Failures map[string]Failure `json:"failures"`
	// Seen are the fingerprints of files as they were last accepted, by the name of
	// the event (as file-changed) and by the path of the file; and, of the event due,
	// the times that came last, by what netwatch.Timed says; and, of peer-changed, what
	// other machines said last, by what netwatch.Peered says.
	Seen map[string]map[string]string `json:"seen"`
	// Replaced says what netwatch last made of files, by their place.
	Replaced map[string]Replaced `json:"rewrites"`
	// Starts are the times when netwatch started a unit, newest last.
	Starts map[string][]time.Time `json:"starts"`
	// Dead are the findings of proofs, by their text, because of which the server was
	// started; until it is seen alive.
	Dead map[string]string `json:"dead"`
	// Left are the rules that acted while nobody said the known address of a family, and
	// so are to act again when somebody does.
	Left map[netwatch.Family][]string `json:"left"`

	// Others is what a newer netwatch keeps beside these, from which this one was gone back
	// to. It is never changed.
	Others map[string]json.RawMessage `json:"-"`
}

// A Replaced says what netwatch last made of a file, or was about to make: it is
// noted before the change.
type Replaced struct {
	// From are the fingerprints of the contents that netwatch replaced since somebody
	// else last wrote the file, oldest first; the newest keptContents of them.
	From []string `json:"from"`
	// To is the fingerprint of the content that it wrote last.
	To string `json:"to"`
}

// A Run is what a rule still has to do.
type Run struct {
	// Events are accepted and not acted on yet, oldest first; the newest
	// netwatch.MaxCoalesced of them.
	Events []netwatch.Event `json:"events"`
	// Changed says that a gate changed something, or was about to, and that the steps
	// behind it have not all succeeded since.
	Changed bool `json:"changed,omitempty"`
	// Done are the texts of the steps before the one that failed or was held.
	Done []string `json:"done,omitempty"`
}

// A Failure is a run that was given up.
type Failure struct {
	Time  time.Time      `json:"time"`
	Event netwatch.Event `json:"event"`
	Step  string         `json:"step,omitempty"`
	Error string         `json:"error"`
	Hint  string         `json:"hint,omitempty"`
	// Changed is that of the run. The next run of the rule begins with it.
	Changed bool `json:"changed,omitempty"`
}

// keptContents is how many contents of a file are remembered: more than there can be
// before a source looks.
const keptContents = 16

// keptStarts is how many starts of a unit are remembered: more than any
// sensible StartLimitBurst.
const keptStarts = 32

func empty() *State {
	return &State{
		Addresses: netwatch.Addresses{}, Runs: map[string]Run{},
		Failures: map[string]Failure{}, Seen: map[string]map[string]string{},
		Replaced: map[string]Replaced{}, Starts: map[string][]time.Time{},
		Dead: map[string]string{}, Left: map[netwatch.Family][]string{},
	}
}

// clone is deep enough for the methods below, which replace slices and never write into
// them.
func (s *State) clone() *State {
	seen := make(map[string]map[string]string, len(s.Seen))
	for event, of := range s.Seen {
		seen[event] = maps.Clone(of)
	}
	return &State{
		Addresses: maps.Clone(s.Addresses), Runs: maps.Clone(s.Runs),
		Failures: maps.Clone(s.Failures), Seen: seen,
		Replaced: maps.Clone(s.Replaced), Starts: maps.Clone(s.Starts),
		Dead: maps.Clone(s.Dead), Left: maps.Clone(s.Left), Others: s.Others,
	}
}

// Accept adds an event to the runs of the rules that match it.
func (s *State) Accept(ev netwatch.Event, rules []string) {
	for _, rule := range rules {
		r := s.Runs[rule]
		r.Events, r.Done = netwatch.Coalesce(r.Events, ev), nil
		s.Runs[rule] = r
	}
}

// Believe makes a the address that is believed for its family. Call it in the same
// change as Accept of the event that tells of it, so that a crash keeps both or
// neither.
func (s *State) Believe(a netwatch.Address) {
	s.Addresses[netwatch.FamilyOf(a.Address)] = a
}

// See notes the fingerprint of a file for events of that name. An empty one forgets it.
func (s *State) See(event, file, fingerprint string) {
	if s.Seen[event] == nil {
		s.Seen[event] = map[string]string{}
	}
	if s.Seen[event][file] = fingerprint; fingerprint == "" {
		delete(s.Seen[event], file)
	}
}

// Replace notes that netwatch is about to rewrite a file.
func (s *State) Replace(w netwatch.Replacement) {
	r := Replaced{From: []string{w.From}, To: w.To}
	if last := s.Replaced[w.Place]; last.To == w.From {
		r.From = append(slices.Clone(last.From), w.From)
		r.From = r.From[max(0, len(r.From)-keptContents):]
	}
	s.Replaced[w.Place] = r
}

// Wrote says whether netwatch alone made the file go from one content to the other.
func (s *State) Wrote(w netwatch.Replacement) bool {
	r := s.Replaced[w.Place]
	return r.To == w.To && slices.Contains(r.From, w.From)
}

// Change notes that a gate of the rule is about to change something. If the rule has
// no run any more, as it is gone, it does nothing.
func (s *State) Change(rule string) {
	if r, ok := s.Runs[rule]; ok {
		r.Changed = true
		s.Runs[rule] = r
	}
}

// Stop notes that a run of a rule with these events came to a stop, which steps it has
// done, and whether what waits for a change is still to be done. Events accepted since
// want all steps.
func (s *State) Stop(rule string, ids, done []string, changed bool) {
	if r, ok := s.Runs[rule]; ok {
		since := func(ev netwatch.Event) bool { return !slices.Contains(ids, ev.ID) }
		if r.Done = done; slices.ContainsFunc(r.Events, since) {
			r.Done = nil
		}
		r.Changed = changed
		s.Runs[rule] = r
	}
	if f, ok := s.Failures[rule]; ok {
		f.Changed = f.Changed && changed
		s.Failures[rule] = f
	}
}

// End removes events that the rule has acted on, and with them what had failed
// of it before. Events accepted since stay.
func (s *State) End(rule string, ids []string) {
	delete(s.Failures, rule)
	s.remove(rule, ids)
}

// GiveUp removes the events of a run that failed for good and remembers why.
func (s *State) GiveUp(rule string, ids []string, f Failure) {
	s.Failures[rule] = f
	s.remove(rule, ids)
}

// Dismiss forgets the failure of a rule, and with it what the next run was to catch
// up on.
func (s *State) Dismiss(rule string) { delete(s.Failures, rule) }

// remove takes events out of the run of a rule. What is left is a run in which
// nothing has changed yet; with the last event the run goes.
func (s *State) remove(rule string, ids []string) {
	left := slices.DeleteFunc(slices.Clone(s.Runs[rule].Events), func(ev netwatch.Event) bool {
		return slices.Contains(ids, ev.ID)
	})
	if len(left) == 0 {
		delete(s.Runs, rule)
		return
	}
	s.Runs[rule] = Run{Events: left}
}

// Leave notes that a rule acted without a family.
func (s *State) Leave(family netwatch.Family, rule string) {
	s.Left[family] = append(slices.Clone(s.Left[family]), rule)
}

// Take notes that a rule acts with it, or is about to.
func (s *State) Take(family netwatch.Family, rule string) {
	is := func(name string) bool { return name == rule }
	if left := slices.DeleteFunc(slices.Clone(s.Left[family]), is); len(left) > 0 {
		s.Left[family] = left
	} else {
		delete(s.Left, family)
	}
}

// Start notes that a unit is about to be started.
func (s *State) Start(unit string, at time.Time) {
	all := append(slices.Clone(s.Starts[unit]), at)
	s.Starts[unit] = all[max(0, len(all)-keptStarts):]
}
