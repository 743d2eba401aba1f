package control

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"netwatch"
	"netwatch/hooks"
)

// Metrics count what history tells, since the daemon started. Labels are names of the
// configuration, never ids or addresses, so that there are few.
type Metrics struct {
	mu     sync.Mutex
	events map[[2]string]uint64 // by event and source
	runs   map[[2]string]uint64 // by rule and outcome
	steps  map[[2]string]uint64 // by verb and outcome
	times  map[string]duration  // by verb
	wrong  map[string]*wronged  // by rule
}

// A duration is the time that several steps took.
type duration struct {
	count   uint64
	seconds float64
}

// NewMetrics makes counters that have counted nothing.
func NewMetrics() *Metrics {
	return &Metrics{
		events: map[[2]string]uint64{}, runs: map[[2]string]uint64{}, steps: map[[2]string]uint64{},
		times: map[string]duration{}, wrong: map[string]*wronged{},
	}
}

// Add counts an entry of history. A skipped step takes no time.
func (m *Metrics) Add(e netwatch.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case netwatch.EntryEvent:
		m.events[[2]string{e.Event, e.Source}]++
	case netwatch.EntryRun:
		m.runs[[2]string{e.Rule, string(e.Outcome)}]++
		m.wronged(e.Rule, e.Wrong)
	case netwatch.EntryStep:
		verb, _, _ := strings.Cut(e.Step, " ")
		m.steps[[2]string{verb, string(e.Outcome)}]++
		if e.Outcome != netwatch.Skipped {
			t := m.times[verb]
			m.times[verb] = duration{t.count + 1, t.seconds + e.Seconds}
		}
	}
}

// metricsType is the Content-Type of the text format of Prometheus.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// write writes the counters, and how the daemon stands.
func (m *Metrics) write(w io.Writer, s Status) error {
	var x exposition
	x.family("build_info", "gauge", "The version that runs; always 1.")
	x.sample("build_info", 1, "version", s.Version, "goversion", runtime.Version())
	x.family("start_time_seconds", "gauge", "When the daemon started, in Unix seconds.")
	x.sample("start_time_seconds", epoch(s.Since))
	x.family("configuration_refused", "gauge",
		"1 while the configuration file has mistakes and the one before it is in force.")
	x.sample("configuration_refused", one(s.Refused != ""))
	x.family("state_unwritten", "gauge",
		"1 while the disk refuses the state: a restart would forget what was accepted since.")
	x.sample("state_unwritten", one(s.Unwritten != nil))
	m.counted(&x)
	x.standing(s)
	_, err := w.Write(x.Bytes())
	return err
}

// counted writes the counters.
func (m *Metrics) counted(x *exposition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x.counter("events_total", "Events that were accepted.", m.events, "event", "source")
	x.counter("runs_total", "Tries of runs of a rule; a run that fails is tried again.", m.runs, "rule", "outcome")
	x.counter("steps_total", "Steps that ended, by the first word of the step.", m.steps, "verb", "outcome")
	x.family("step_duration_seconds", "summary", "How long steps took that were not skipped.")
	for _, verb := range slices.Sorted(maps.Keys(m.times)) {
		x.sample("step_duration_seconds_sum", m.times[verb].seconds, "verb", verb)
		x.sample("step_duration_seconds_count", float64(m.times[verb].count), "verb", verb)
	}
	m.histograms(x)
}

// standing writes how the daemon stands: addresses, sources and rules.
func (x *exposition) standing(s Status) {
	x.family("address_confirmed_timestamp_seconds", "gauge",
		"When a server last said the public address that is believed, in Unix seconds.")
	for _, family := range netwatch.Families {
		if a, known := s.Addresses[family]; known {
			x.sample("address_confirmed_timestamp_seconds", epoch(a.Confirmed), "family", string(family))
		}
	}
	x.family("source_failing", "gauge", "1 while a source does not watch.")
	for _, source := range s.Sources {
		x.sample("source_failing", one(source.Error != ""), "source", source.Name, "kind", source.Kind)
	}
	x.family("source_troubled", "gauge", "1 while a source watches and cannot find out all, or does not believe somebody.")
	for _, source := range s.Sources {
		x.sample("source_troubled", one(len(source.Trouble) > 0), "source", source.Name, "kind", source.Kind)
	}
	x.peers(s.Peers)
	x.family("runs_pending", "gauge", "Runs of a rule that go, or wait for their time, a limit or another try.")
	for _, rule := range s.Rules {
		x.sample("runs_pending", one(rule.Running != nil)+one(rule.Waiting != nil), "rule", rule.Name)
	}
	x.family("runs_failed", "gauge", "1 while a run of a rule has failed and is tried again, or was given up.")
	for _, rule := range s.Rules {
		x.sample("runs_failed", one(failing(rule)), "rule", rule.Name)
	}
}

// peers writes how many other machines stand how.
func (x *exposition) peers(all []netwatch.Peer) {
	x.family("peers", "gauge", "Other machines, by how they stand.")
	for _, state := range netwatch.PeerStates {
		n := 0
		for _, p := range all {
			if p.State == state {
				n++
			}
		}
		x.sample("peers", float64(n), "state", state)
	}
}

// failing says whether the last try of the rule failed.
func failing(r hooks.RuleStatus) bool {
	return r.Failed != nil || r.Waiting != nil && r.Waiting.Tried != nil && r.Waiting.Tried.Outcome == netwatch.Failed
}

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// An exposition is metrics in the text format of Prometheus
// (prometheus.io/docs/instrumenting/exposition_formats). All begin with
// "netwatch_".
type exposition struct{ bytes.Buffer }

// family begins a metric.
func (x *exposition) family(name, kind, help string) {
	fmt.Fprintf(x, "# HELP netwatch_%s %s\n# TYPE netwatch_%s %s\n", name, help, name, kind)
}

// escaped are the characters that cannot stand in the value of a label.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a value with labels, given as names and values in turn. It replaces
// what is not UTF-8, which would make everything unreadable.
func (x *exposition) sample(name string, value float64, labels ...string) {
	var all []string
	for pair := range slices.Chunk(labels, 2) {
		all = append(all, pair[0]+`="`+escaped.Replace(strings.ToValidUTF8(pair[1], "\uFFFD"))+`"`)
	}
	in := strings.Join(all, ",")
	if in != "" {
		in = "{" + in + "}"
	}
	fmt.Fprintf(x, "netwatch_%s%s %s\n", name, in, strconv.FormatFloat(value, 'f', -1, 64))
}

// counter writes a metric with two labels.
func (x *exposition) counter(name, help string, counts map[[2]string]uint64, labels ...string) {
	x.family(name, "counter", help)
	byName := func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }
	for _, key := range slices.SortedFunc(maps.Keys(counts), byName) {
		x.sample(name, float64(counts[key]), labels[0], key[0], labels[1], key[1])
	}
}
