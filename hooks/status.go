package hooks

import (
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
	// Waiting is the run that comes next.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Last is how the last run ended since netwatch started.
	Last *netwatch.Entry `json:"last,omitempty"`
	// Failed is the run that was given up, until one succeeds or it is dismissed.
	Failed *state.Failure `json:"failed,omitempty"`
}

// A Waiting run has not begun, or will be tried again.
type Waiting struct {
	Events []netwatch.Event `json:"events"`
	// Due is when it starts.
	Due time.Time `json:"due"`
	// Tried is how it ended when it was tried: failed, or held by a limit.
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
	return all
}

func (l *lane) status() RuleStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := RuleStatus{Name: l.rule.Name, On: l.rule.On, Do: l.rule.Texts(), Last: l.last}
	if l.running != nil {
		s.Running = l.running.events
	}
	if w := l.waiting; w != nil {
		s.Waiting = &Waiting{Events: w.events, Due: w.due, Tried: w.tried}
	}
	return s
}

// Texts are the steps as the configuration gives them.
func (r *Rule) Texts() []string {
	texts := make([]string, len(r.Do))
	for i, s := range r.Do {
		texts[i] = s.Text
	}
	return texts
}
