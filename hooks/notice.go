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
	// lastNotices is how long notices may still take once netwatch ends.
	lastNotices = 3 * time.Second
)

// notices sends the notices of one rule, in order, in a goroutine of their own, which
// exists only while there are notices to send. So a slow server delays only other
// notices of the rule. They are not on disk: a crash loses them, but the log has what
// they tell.
type notices struct {
	d *Dispatcher

	mu      sync.Mutex
	waiting []ending
	sending bool
}

// An ending is a run that has ended or failed, which notices are to tell of.
type ending struct {
	rule *Rule
	job  netwatch.Job
	// idle says that nothing changed and nothing failed.
	idle bool
}

// add queues the notices of a run that has ended. If too many wait, the oldest are
// given up.
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

// send sends what waits, and returns.
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
		Step: end.rule.Do[i].Text, Seconds: took.Seconds(),
	}
	e.Tell(result)
	n.d.report(e)
}
