package daemon

import (
	"errors"
	"fmt"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"netwatch"
)

// hungAfter is how long a write of the state or a look of a source may take
// before it counts as hung: twice the longest that a STUN server may be waited
// for, and far longer than a slow card takes to sync a small file.
const hungAfter = time.Minute

// watchdog ticks twice as often as systemd's watchdog wants to be fed
// (WatchdogSec=, systemd.service(5)), and never where there is none.
func watchdog() (<-chan time.Time, error) {
	within, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("reading what systemd's watchdog wants: %w", err)
	}
	if within == 0 {
		return nil, nil
	}
	return time.Tick(within / 2), nil
}

// feed tells systemd's watchdog that netwatch is alive, if it is. It is called
// where signals are served, so that this must be alive too. A lock that is held
// for ever keeps it from returning, which tells as much: systemd then ends
// netwatch with SIGABRT, upon which Go writes all stacks to the log, and starts
// it again.
func (d *Daemon) feed() {
	err := d.hung()
	if err == nil {
		d.tell(systemd.SdNotifyWatchdog)
		return
	}
	d.note(netwatch.WithHint(fmt.Errorf("feeding systemd's watchdog: %w", err),
		"systemd restarts netwatch now, which then does what it had accepted; "+
			"if it comes again, look at the disk and at what the step does"))
}

// hung says which of the parts that must be alive is not: the runs of rules, the
// state, or a source; or nil.
func (d *Daemon) hung() error {
	errs := []error{d.rules.Hung()}
	if overdue(d.store.Writing()) {
		errs = append(errs, fmt.Errorf("the state is still not written after %s", hungAfter))
	}
	return errors.Join(append(errs, d.watch.hung()...)...)
}

// overdue says that what began then takes too long; the zero time is nothing.
func overdue(since time.Time) bool {
	return !since.IsZero() && time.Since(since) > hungAfter
}

// A looking source can say since when it has been at the look that it is at, or
// the zero time while it waits for the next one. One that cannot say counts as
// alive until its Run returns.
type looking interface{ Looking() (since time.Time) }

// hung lists the sources that do not come to the end of a look.
func (ws *watchers) hung() (errs []error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.all {
		if l, ok := w.source.(looking); ok && overdue(l.Looking()) {
			errs = append(errs, fmt.Errorf("%s is still at a look after %s", w.Name, hungAfter))
		}
	}
	return errs
}
