package hooks

import (
	"context"
	"errors"
	"sync"
	"time"

	"netwatch"
)

const (
	// noticeTime is how long one notice may take, with its own tries.
	noticeTime = time.Minute
	// waitingNotices is how many ended runs of a rule may wait to be told of.
	waitingNotices = 16
	// lastNotices is how long notices may still take when netwatch ends.
	lastNotices = 3 * time.Second
)

// notices are the notices of one rule. They are sent in order, in a goroutine of
// their own that is there only while there is one to send, so that a slow server
// delays nothing but other notices of the rule. They are not on disk: a crash
// loses them, and what they tell of is in the log.
type notices struct {
	d *Dispatcher

	mu      sync.Mutex
	waiting []ending
	sending bool
}

// An ending is a run that ended or failed, and is to be told of.
type ending struct {
	rule *Rule
	job  netwatch.Job
	// idle says that nothing changed and nothing failed.
	idle bool
}

// add has the notices of a rule tell how a run ended. Of too many that wait, the
// oldest are given up.
func (n *notices) add(rule *Rule, r *run, e netwatch.Entry) {
	if rule.notices() == len(rule.Do) {
		return
	}
	job := netwatch.Job{Event: r.newest(), Confirmed: n.d.store.Confirmed(), Ended: e}
	idle := !r.changed && !r.failed && e.Outcome != netwatch.Failed
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == waitingNotices {
		n.giveUp(n.waiting[0])
		n.waiting = n.waiting[1:]
	}
	n.waiting = append(n.waiting, ending{rule, job, idle})
	if !n.sending {
		n.sending = true
		n.d.sending.Add(1)
		go n.send()
	}
}

// send sends what waits, and ends.
func (n *notices) send() {
	defer n.d.sending.Done()
	for {
		n.mu.Lock()
		if len(n.waiting) == 0 {
			n.sending = false
			n.mu.Unlock()
			return
		}
		next := n.waiting[0]
		n.waiting = n.waiting[1:]
		n.mu.Unlock()
		for i := next.rule.notices(); i < len(next.rule.Do); i++ {
			n.one(next, i)
		}
	}
}

// one sends one notice, or skips it, and reports it.
func (n *notices) one(end ending, i int) {
	ctx, cancel := context.WithTimeout(n.d.ctx, noticeTime)
	defer cancel()
	began := time.Now()
	result := netwatch.Result{Outcome: netwatch.Skipped, Detail: nothingChanged}
	if !end.idle || !end.rule.gated(i) {
		result = end.rule.Do[i].Do(ctx, end.job)
	}
	n.report(end, i, result, time.Since(began))
}

func (n *notices) giveUp(end ending) {
	for i := end.rule.notices(); i < len(end.rule.Do); i++ {
		n.report(end, i, netwatch.Failure(errors.New("too many notices of this rule wait")), 0)
	}
}

// report puts the notice into history.
func (n *notices) report(end ending, i int, result netwatch.Result, took time.Duration) {
	e := netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryStep, ID: end.job.Event.ID, Event: end.job.Event.Name, Rule: end.rule.Name,
		Step: end.rule.Do[i].Text, Outcome: result.Outcome, Detail: result.Detail, Seconds: took.Seconds(),
	}
	if result.Err != nil {
		e.Error, e.Hint = result.Err.Error(), netwatch.Hint(result.Err)
	}
	n.d.report(e)
}
