package hooks

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"netwatch"
	"netwatch/state"
)

// A RuleStatus is a rule and how it stands.
type RuleStatus struct {
	Name string   `json:"name"`
	On   []string `json:"on"`
	Do   []string `json:"do"`
	// Running are the events of the run in progress.
	Running []netwatch.Event `json:"running,omitempty"`
	// Doing is the step that the run is at.
	Doing *Doing `json:"doing,omitempty"`
	// Waiting is the run that comes next.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Last is how the last run ended since netwatch started.
	Last *netwatch.Entry `json:"last,omitempty"`
	// Failed is the run that was given up, until one succeeds or it is dismissed.
	Failed *state.Failure `json:"failed,omitempty"`
}

// Doing is a step that has begun and not ended.
type Doing struct {
	Step string `json:"step"`
	// Waits is what the step waits for that others must do, if it said so.
	Waits string `json:"waits,omitempty"`
	// Since is when the step began, or began to wait for that.
	Since time.Time `json:"since"`
}

// A Waiting run has not begun, or will be tried again.
type Waiting struct {
	Events []netwatch.Event `json:"events"`
	// Due is when it starts.
	Due time.Time `json:"due"`
	// Tried is how the last try ended: it failed, or was held by a limit.
	Tried *netwatch.Entry `json:"tried,omitempty"`
}

// Status is every rule, in the order of the configuration.
func (d *Dispatcher) Status() []RuleStatus {
	d.mu.RLock()
	defer d.mu.RUnlock()
	failures := d.store.Get().Failures
	all := make([]RuleStatus, len(d.table.rules))
	for i, r := range d.table.rules {
		all[i] = d.lanes[r.Name].status()
		if f, ok := failures[r.Name]; ok {
			all[i].Failed = &f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		isOf := func(r *Rule) bool { return r.Name == name }
		if !slices.ContainsFunc(d.table.rules, isOf) { // It has another name now, or is gone
			f := failures[name]
			all = append(all, RuleStatus{Name: name, Failed: &f})
		}
	}
	return all
}

func (l *lane) status() RuleStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := RuleStatus{Name: l.rule.Name, On: l.rule.On, Do: l.rule.Texts(), Last: l.last}
	if l.running != nil {
		s.Running, s.Doing = l.running.events, l.doing
	}
	if w := l.waiting; w != nil {
		s.Waiting = &Waiting{Events: w.events, Due: w.due, Tried: w.tried}
	}
	return s
}

// slack is how much longer than its timeout a run may take: in that time its step
// stops a program or a job.
const slack = 30 * time.Second

// Hung says which runs do not end although their time is long over, or returns nil.
// It takes the locks that events and runs need. If one of these is held for ever, it
// never returns.
func (d *Dispatcher) Hung() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.lanes)) {
		if d.lanes[name].hung() {
			errs = append(errs, fmt.Errorf("the rule %s does not end although its time is over", name))
		}
	}
	return errors.Join(errs...)
}

func (l *lane) hung() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running != nil && time.Since(l.ends) > slack
}

// Texts are the steps as the configuration gives them.
func (r *Rule) Texts() []string {
	texts := make([]string, len(r.Do))
	for i, s := range r.Do {
		texts[i] = s.Text
	}
	return texts
}
