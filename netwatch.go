// Package netwatch holds the words that all parts of netwatch share: an Event
// that a Source emits, an Action that a rule does because of it, the Result of
// each step, and the Entry by which it is reported.
//
// Data flows one way: source, rule, step, file or unit. Sources and actions
// know this package and not each other; neither knows the dispatcher.
package netwatch

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"strings"
	"time"
)

// An Event says that something changed. It is a reason to look, never the
// truth itself: an action reads the present state again.
type Event struct {
	// ID is unique, and stands in the log, in history and on each step's result.
	ID string `json:"id"`
	// Name is one of Events or a name that some rule gives.
	Name string `json:"event"`
	// Source is the name of the source that emitted it, or Fired.
	Source string `json:"source"`
	// Time is when it was noticed.
	Time time.Time `json:"time"`
	// Fields are the particulars, by the names that its line in Events gives:
	// family, old, new, interface, file and so on. Absent is the same as empty.
	Fields map[string]string `json:"fields,omitempty"`
	// Noticed, After and Moments are of a change of our address, as they are on its Entry.
	Noticed string   `json:"noticed,omitempty"`
	After   string   `json:"after,omitempty"`
	Moments *Moments `json:"moments,omitempty"`
	// By are the servers that say so, of an event about our address. Its field by
	// has them as text. Own is this machine's address by which they were asked.
	By  []string   `json:"-"`
	Own netip.Addr `json:"-"`
	// Heard ends when the look that found this out has heard all that it asked for: a
	// rule without a window of its own then waits for nothing more. It may be nil.
	Heard context.Context `json:"-"`
	// Sight is what the state has as seen last from when the event is accepted.
	Sight Sight `json:"-"`
}

// A Sight is how a source saw something last.
type Sight struct {
	// Event is the name of the events by which it is told of, Of what was seen, and Value
	// how it was.
	Event, Of, Value string
}

// Timed names a time of a timer in the state: by the source and its field at.
func Timed(source, at string) string { return source + " " + at }

// Peered names a machine in the state, by the source that knows of it.
func Peered(source, peer string) string { return source + " " + peer }

// About is what the event tells of.
func (ev Event) About() About {
	kind, _ := KnownEvent(ev.Name)
	return kind.About
}

// Fired is the Source of an event that a person or a program fired.
const Fired = "fire"

// NewEvent makes an event of the present moment with an id of its own.
func NewEvent(name, source string, fields map[string]string) Event {
	id := strings.ToLower(rand.Text()[:10])
	return Event{ID: id, Name: name, Source: source, Time: time.Now(), Fields: maps.Clone(fields)}
}

// A Replacement is a file to which netwatch gives another content.
type Replacement struct {
	// Place is the path of the file after all symlinks.
	Place string `json:"place"`
	// From and To are the Fingerprints of its content before and after.
	From string `json:"from"`
	To   string `json:"to"`
}

// Fingerprint is the SHA-256 of content in small hexadecimal digits. The state and
// events hold it in place of the content.
func Fingerprint(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// A Source notices changes in the world.
type Source interface {
	// Run watches until ctx is done, and then returns nil. It returns an error if it
	// cannot watch; the daemon then runs it again after a pause. emit returns nil once
	// the event is accepted: no crash loses it then. If emit returns an error, the
	// event was refused, and the source must notice it again at its next look.
	Run(ctx context.Context, emit func(Event) error) error
	// String is the name in the configuration.
	String() string
}

// A Prober is a source that can be asked to look at once.
type Prober interface {
	Source
	// Probe looks now and returns once what it found has been emitted:
	// Changed, Unchanged, or Failed when it could not find out.
	Probe(ctx context.Context) Result
}

// An Action does one step of a rule.
type Action interface {
	// Do does it once and keeps to the deadline of ctx. Doing it twice is
	// harmless: after a crash it is done again.
	Do(ctx context.Context, job Job) Result
}

// A Preparer is an action that first has to start something, which takes time.
type Preparer interface {
	Action
	// Prepare starts that, and returns at once. The dispatcher calls it shortly before
	// a run that is likely. Do must work without it too, and may never be called after
	// it.
	Prepare()
}

// A Step is one line of a rule's do: an action and what the dispatcher must
// know of it.
type Step struct {
	Action
	// Text is the line as the configuration gives it.
	Text string
	// Gate says that the steps behind this one depend on whether it changed something.
	Gate bool
	// Gated says that this step is skipped if there are gates before it and none of
	// them changed anything.
	Gated bool
	// Applies says that by it a server goes by what was changed.
	Applies bool
	// Starts says that it can bring a dead server to life.
	Starts bool
	// Proof says that it changes nothing and looks whether all is as it should be.
	Proof bool
	// Notice says that it tells somebody of the run and is no part of it: it is
	// done when the run has ended or failed, beside whatever comes next, and its
	// own failure is nobody else's. All steps after a notice are notices.
	Notice bool
}

// String is the line as the configuration gives it.
func (s Step) String() string { return s.Text }

// A Job is what an action is told of the run that it is part of.
type Job struct {
	// Event is the newest of those that led to this run.
	Event Event
	// Events are all that led to it, oldest first, at most MaxCoalesced of them.
	Events []Event
	// Since is when the world was last made another, as far as the run knows: by its
	// newest event, or by a step of it. Who was started after that knows it all.
	Since time.Time
	// Steps are all steps of its rule, itself among them.
	Steps []Step
	// Confirmed are the public addresses that servers have said since netwatch
	// started. Actions never act on an address that was believed before that.
	Confirmed Addresses
	// Changing is for gates. A gate calls it right before it changes something, when
	// nothing else can fail any more, and changes nothing if Changing returns an
	// error. Once Changing has returned nil, a crash cannot make the steps behind the
	// gate be skipped, and no source takes the change for somebody else's doing; unless
	// the disk has refused to note it, which netwatch status says.
	Changing func(Replacement) error
	// Waiting is told what the step waits for that others must do, as "systemd,
	// process 1"; netwatch status shows it. It may be nil: call WaitsFor.
	Waiting func(what string)
	// Revives says that the step is done once more because a later one has found its
	// server dead.
	Revives bool
	// Ended is how the run ended, in a notice.
	Ended Entry
}

// WaitsFor tells what the step waits for from now on.
func (j Job) WaitsFor(what string) {
	if j.Waiting != nil {
		j.Waiting(what)
	}
}

// Outcome is how a step ended.
type Outcome string

// The outcomes. Unchanged and Skipped are well.
const (
	Changed   Outcome = "changed"
	Unchanged Outcome = "unchanged"
	Skipped   Outcome = "skipped"
	Failed    Outcome = "failed"
	// Held is a step that waits for a limit and will be tried again.
	Held Outcome = "held"
)

// A Result is the outcome of a step and what is to be said about it.
type Result struct {
	Outcome Outcome
	// Detail says in a few words what was done or found.
	Detail string
	// Err is set when and only when Outcome is Failed.
	Err error
	// Until is when a Held step may be tried again.
	Until time.Time
	// Refused says of a failed step that it was refused, and nothing was begun by it.
	Refused bool
	// Dead is what a proof saw of its server that it found dead: the same text as long
	// as that is the same finding. It is empty when the server is alive, or when it
	// cannot be known.
	Dead string
}

// Failure is the Result of a step that failed.
func Failure(err error) Result { return Result{Outcome: Failed, Err: err} }

// An Entry is one line of history: an event that was accepted, a step that
// ended, or a run that ended.
type Entry struct {
	Time time.Time `json:"time"`
	// Kind is EntryEvent, EntryStep, EntryRun, EntryNote or EntryOutage.
	Kind string `json:"kind"`
	// ID is the event's id; of a coalesced run, the newest event's.
	ID string `json:"id,omitempty"`
	// IDs are the ids of all events of a coalesced run, oldest first, at most
	// MaxCoalesced of them.
	IDs    []string          `json:"ids,omitempty"`
	Event  string            `json:"event,omitempty"`
	Source string            `json:"source,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
	Rule   string            `json:"rule,omitempty"`
	Step   string            `json:"step,omitempty"`
	// Outcome is empty on an event.
	Outcome Outcome `json:"outcome,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Error   string  `json:"error,omitempty"`
	Hint    string  `json:"hint,omitempty"`
	// Seconds is how long a step took, or a run since its first event.
	Seconds float64 `json:"seconds,omitempty"`
	// Retry is when a failed or held run is tried again; absent when it is not.
	Retry *time.Time `json:"retry,omitempty"`
	// Noticed says by what a change of our address was noticed (BySTUN and so on), on
	// the event that tells of it and on each run because of it; empty on all others.
	Noticed string `json:"noticed,omitempty"`
	// After is AfterOutage or AfterStop where such a change was seen late because of it.
	After string `json:"after,omitempty"`
	// Moments are there on the same entries as Noticed: all that are known by then.
	Moments *Moments `json:"moments,omitempty"`
	// Wrong is on a run that made right what callers are told, and was not before.
	Wrong *Wrong `json:"wrong,omitempty"`
}

// mostSaid is how many bytes of each text of a result are told: strangers have a part in
// them, as a server that answers something else.
const mostSaid = 8 << 10

// Tell puts what a result says into an entry.
func (e *Entry) Tell(r Result) {
	said := func(text string) string {
		if len(text) > mostSaid {
			text = strings.ToValidUTF8(text[:mostSaid], "") + "…"
		}
		return text
	}
	e.Outcome, e.Detail = r.Outcome, said(r.Detail)
	if r.Err != nil {
		e.Error, e.Hint = said(r.Err.Error()), said(Hint(r.Err))
	}
}

// Brief is e without error, hint and detail, if e tells how a run ended and the entry
// of one of its steps has said them already.
func (e Entry) Brief() Entry {
	if e.Kind == EntryRun && e.Step != "" {
		e.Error, e.Hint, e.Detail = "", "", ""
	}
	return e
}

// RunEnded says whether the entry tells that a run has ended or failed. Then nobody
// need wait for the run any longer, although a failed one may be tried again. A run
// that a limit holds back has not ended.
func (e Entry) RunEnded() bool { return e.Kind == EntryRun && e.Outcome != Held }

// The kinds of entries.
const (
	EntryEvent = "event"
	EntryStep  = "step"
	EntryRun   = "run"
	// EntryNote is something about netwatch itself, as a source that failed.
	EntryNote = "note"
	// EntryOutage is a time in which no server answered that says our address: one when
	// it begins, and one when it ends, which has its Seconds. The fields are family, and
	// address, the last that was known.
	EntryOutage = "outage"
)
