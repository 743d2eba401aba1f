// Package control is the control socket: HTTP with JSON over a unix socket. It has
// the server, which runs in the daemon, and the client, which runs in the command. It
// knows neither sources nor actions.
package control

import (
	"context"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/access"
	"netwatch/history"
	"netwatch/hooks"
	"netwatch/state"
)

// A Request to fire an event: the body of POST /v1/fire.
type Request struct {
	Event  string            `json:"event"`
	Fields map[string]string `json:"fields,omitempty"`
	// Source is the kind of the source that the caller speaks for, as openvpn. It is
	// empty for a person, and for a program of a person's own.
	Source string `json:"source,omitempty"`
	// NoWait asks for an answer that ends once the event is accepted. Otherwise
	// entries follow until each run has ended or failed.
	NoWait bool `json:"no_wait,omitempty"`
	// DryRun asks what would run, and runs nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// UID is who fires, as the kernel says; it is not part of the request.
	UID uint32 `json:"-"`
}

// Accepted is the first line of the answer to a Request. Entries follow, one a
// line, unless it was a dry run or not to be waited for.
type Accepted struct {
	// ID is the event's, and empty for a dry run.
	ID     string `json:"id,omitempty"`
	Event  string `json:"event"`
	DryRun bool   `json:"dry_run,omitempty"`
	// Rules are those that run, in the order of the configuration.
	Rules []Plan `json:"rules"`
	// Unwritten says that the event is not on disk, and why.
	Unwritten *state.Unwritten `json:"unwritten,omitempty"`
}

// A Plan is a rule and its steps.
type Plan struct {
	Name string   `json:"name"`
	Do   []string `json:"do"`
}

// A Dismissal is the body of POST /v1/dismiss.
type Dismissal struct {
	// Rule is the name of the rule whose failure is to be forgotten.
	Rule string `json:"rule"`
}

// A Status is the answer to GET /v1/status.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Config  string    `json:"config"`
	// Refused says why the configuration file as it is now was not put in force;
	// the one before it is.
	Refused string `json:"refused,omitempty"`
	// Unwritten says since when the state is not on disk, and why.
	Unwritten *state.Unwritten `json:"unwritten,omitempty"`
	// Unkept says since when history is not kept, and why.
	Unkept *history.Unkept `json:"unkept,omitempty"`
	// Addresses are the public addresses believed now.
	Addresses netwatch.Addresses `json:"addresses"`
	// Damped are those that are held while another comes and goes.
	Damped []netwatch.Damped `json:"damped"`
	// Router is what the gateway of the way out says, if it is asked.
	Router *netwatch.Router `json:"router,omitempty"`
	// Peers are the other machines, as a broker tells of them.
	Peers   []netwatch.Peer    `json:"peers"`
	Sources []SourceStatus     `json:"sources"`
	Rules   []hooks.RuleStatus `json:"rules"`
}

// A Probed is the answer to POST /v1/probe: what only the daemon can ask, who is
// connected.
type Probed struct {
	// Peers are the other machines.
	Peers []netwatch.Peer `json:"peers"`
	// Brokers are what they let machines do.
	Brokers []netwatch.Broker `json:"brokers,omitempty"`
	// Error is why a broker does not answer, and Hint the remedy.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// A Verified is a line of the answer to POST /v1/verify: what other machines saw of a
// server from outside.
type Verified struct {
	// Server and File are those of a step that rewrites the file.
	Server string `json:"server"`
	File   string `json:"file"`
	// Outcome is unchanged when callers get what they should, failed when they do not, and
	// skipped when nobody could look.
	Outcome netwatch.Outcome `json:"outcome"`
	Detail  string           `json:"detail,omitempty"`
	Error   string           `json:"error,omitempty"`
	Hint    string           `json:"hint,omitempty"`
}

// hidden stands in place of what is not for everyone.
const hidden = "only root and the group " + access.Group + " may read why"

// public is a status without what programs printed, what events hold and what the router
// and other machines say: that can be secret.
func (s Status) public() Status {
	s.Router, s.Peers, s.Sources = nil, []netwatch.Peer{}, slices.Clone(s.Sources)
	for i := range s.Sources {
		s.Sources[i].Serves = ""
	}
	rules := make([]hooks.RuleStatus, len(s.Rules))
	for i, r := range s.Rules {
		r.Last = publicEntry(r.Last)
		r.Running = publicEvents(r.Running)
		if w := r.Waiting; w != nil {
			r.Waiting = &hooks.Waiting{Events: publicEvents(w.Events), Due: w.Due, Tried: publicEntry(w.Tried)}
		}
		if f := r.Failed; f != nil {
			r.Failed = &state.Failure{
				Time: f.Time, Event: publicEvents([]netwatch.Event{f.Event})[0],
				Step: f.Step, Error: hidden,
			}
		}
		rules[i] = r
	}
	s.Rules = rules
	return s
}

func publicEntry(e *netwatch.Entry) *netwatch.Entry {
	if e == nil {
		return nil
	}
	public := *e
	public.Detail, public.Hint, public.Fields = "", "", nil
	if e.Error != "" {
		public.Error = hidden
	}
	return &public
}

func publicEvents(events []netwatch.Event) (public []netwatch.Event) {
	for _, ev := range events {
		ev.Fields = nil
		public = append(public, ev)
	}
	return public
}

// A SourceStatus is a source and how it stands.
type SourceStatus struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Error is why it does not watch at the moment, and Hint the remedy.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Trouble is what it cannot find out, or which server it does not believe.
	Trouble Troubles `json:"trouble,omitempty"`
	// Note is what else is to be said of how it watches.
	Note string `json:"note,omitempty"`
	// Serves is whom it looks at from outside, and what came of that last.
	Serves string `json:"serves,omitempty"`
}

// A Trouble is one thing that a source cannot find out, and its remedy.
type Trouble struct{ Error, Hint string }

// Troubles are all of a source. In JSON they are one text, a line for each error and
// each hint.
type Troubles []Trouble

// MarshalText gives the lines.
func (t Troubles) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the lines.
func (t *Troubles) UnmarshalText(text []byte) error {
	*t = nil
	for line := range strings.SplitSeq(string(text), "\n") {
		hint, is := strings.CutPrefix(line, hintLine)
		if is && len(*t) > 0 {
			(*t)[len(*t)-1].Hint = hint
			continue
		}
		*t = append(*t, Trouble{Error: line})
	}
	return nil
}

// String is the lines, for a person.
func (t Troubles) String() string {
	lines := make([]string, len(t))
	for i, one := range t {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// hintLine is how the line of a remedy begins.
const hintLine = "hint: "

// String is a line for each of the two.
func (t Trouble) String() string {
	if t.Hint == "" {
		return t.Error
	}
	return t.Error + "\n" + hintLine + t.Hint
}

// String says how it stands, for a person.
func (s SourceStatus) String() string {
	switch {
	case s.Error != "":
		return "not watching: " + Trouble{s.Error, s.Hint}.String()
	case len(s.Trouble) > 0:
		return "watching, but " + s.Trouble.String()
	case s.Note != "":
		return "watching; " + s.Note
	case s.Serves != "":
		return "watching; " + s.Serves
	}
	return "watching"
}

// A Daemon is what the server needs of the daemon.
type Daemon interface {
	// MayFire says whether the sources let a user without privileges fire the
	// event.
	MayFire(uid uint32, event string) bool
	// Fire accepts the event of a request, or says what would run. It calls watch with
	// the entries of the runs; watch must not block.
	Fire(ctx context.Context, r Request, watch func(netwatch.Entry)) (Accepted, error)
	// Dismiss forgets that a rule failed for good.
	Dismiss(rule string) error
	// Probe asks what only the daemon can ask.
	Probe(ctx context.Context) Probed
	// Verify has other machines look at our servers from outside, and calls each with what
	// came of one.
	Verify(ctx context.Context, each func(Verified))
	// Status is how the daemon stands now.
	Status() Status
	// History is what it did.
	History() *history.Log
	// Metrics count what it did.
	Metrics() *Metrics
}

// problem is the body of every answer that is not 200.
type problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}
