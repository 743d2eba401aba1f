// Package state keeps what must survive a crash in one small file: the public
// addresses last believed, every run that is accepted and not yet ended, what
// failed for good, and when units were started.
package state

import (
	"maps"
	"slices"
	"time"

	"netwatch"
)

// State is what must survive.
type State struct {
	// Addresses are the public addresses last believed and accepted.
	Addresses netwatch.Addresses `json:"addresses"`
	// Runs are accepted and not yet ended, by the name of their rule.
	Runs map[string]Run `json:"runs"`
	// Failures were given up, by the name of their rule, until it succeeds or
	// they are dismissed.
	Failures map[string]Failure `json:"failures"`
	// Seen are the fingerprints of files by the event that tells of another one
	// and by the file's name.
	Seen map[string]map[string]string `json:"seen"`
	// Rewrites are what netwatch last made of files, by their place.
	Rewrites map[string]Rewrite `json:"rewrites"`
	// Starts are the times when netwatch started a unit, newest last.
	Starts map[string][]time.Time `json:"starts"`
	// Dead are the findings of proofs, by their text, because of which the server was
	// started; until it is seen alive.
	Dead map[string]string `json:"dead"`
}

// A Rewrite is what netwatch last made of a file. It may not have come to that:
// it is noted before.
type Rewrite struct {
	// From are the fingerprints of the contents that it has had since somebody
	// else wrote it, oldest first, at most the newest keptContents.
	From []string `json:"from"`
	// To is the fingerprint of what came last.
	To string `json:"to"`
}

// A Run is what a rule still has to do.
type Run struct {
	// Events are accepted and not yet acted on, oldest first; the newest
	// netwatch.MaxCoalesced of them.
	Events []netwatch.Event `json:"events"`
	// Changed says that a gate changed something, or was about to, and that
	// the steps after it have not all succeeded since.
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
	// Changed is the run's, and handed on to the next run of the rule.
	Changed bool `json:"changed,omitempty"`
}

// keptContents is how many contents of a file are remembered: more than a source
// leaves unseen.
const keptContents = 16

// keptStarts is how many starts of a unit are remembered: more than any
// sensible StartLimitBurst.
const keptStarts = 32

func empty() *State {
	return &State{
		Addresses: netwatch.Addresses{}, Runs: map[string]Run{},
		Failures: map[string]Failure{}, Seen: map[string]map[string]string{},
		Rewrites: map[string]Rewrite{}, Starts: map[string][]time.Time{},
		Dead: map[string]string{},
	}
}

// clone is deep enough for the methods below, which replace slices and inner
// maps and never write into them.
func (s *State) clone() *State {
	return &State{
		Addresses: maps.Clone(s.Addresses), Runs: maps.Clone(s.Runs),
		Failures: maps.Clone(s.Failures), Seen: maps.Clone(s.Seen),
		Rewrites: maps.Clone(s.Rewrites), Starts: maps.Clone(s.Starts),
		Dead: maps.Clone(s.Dead),
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

// Believe makes a the address of its family. It stands in the same change as
// Accept of the event that says so, so that a crash keeps both or neither.
func (s *State) Believe(a netwatch.Address) {
	s.Addresses[netwatch.FamilyOf(a.Address)] = a
}

// See makes fingerprint the one of the file that events of that name are about.
func (s *State) See(event, file, fingerprint string) {
	files := maps.Clone(s.Seen[event])
	if files == nil {
		files = map[string]string{}
	}
	files[file] = fingerprint
	s.Seen[event] = files
}

// Rewrite notes that netwatch is about to rewrite a file.
func (s *State) Rewrite(w netwatch.Rewrite) {
	r := Rewrite{From: []string{w.From}, To: w.To}
	if last := s.Rewrites[w.Place]; last.To == w.From {
		r.From = append(slices.Clone(last.From), w.From)
		r.From = r.From[max(0, len(r.From)-keptContents):]
	}
	s.Rewrites[w.Place] = r
}

// Wrote says whether it was netwatch alone who made a file go from one content to
// another.
func (s *State) Wrote(w netwatch.Rewrite) bool {
	r := s.Rewrites[w.Place]
	return r.To == w.To && slices.Contains(r.From, w.From)
}

// Change notes that a gate of the rule is about to change something. A rule that
// has gone meanwhile has no run that could go on.
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

// Dismiss forgets what failed of a rule, and what was to follow from it.
func (s *State) Dismiss(rule string) { delete(s.Failures, rule) }

// remove takes events away from the run of a rule, which then has not changed
// anything yet, and the run with its last event.
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

// Start notes that a unit is about to be started.
func (s *State) Start(unit string, at time.Time) {
	all := append(slices.Clone(s.Starts[unit]), at)
	s.Starts[unit] = all[max(0, len(all)-keptStarts):]
}
