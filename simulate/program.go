package simulate

import (
	"context"
	"errors"
	"strings"
	"time"

	"netwatch"
)

// The program of a rule, and for how long a run of it may take.
const (
	programFile    = "/usr/local/bin/follow"
	programTimeout = 40 * time.Second
)

// programText is what is in the configuration of a world with a program. A mail tells how it
// went.
const programText = `
[[rule]]
name = "program"
on = ["ip-changed"]
from = ["stun"]
match = { family = "ipv4" }
timeout = "40s"
do = ["exec /usr/local/bin/follow"%s]
`

// A program is one that follows our address.
type program struct {
	// next is how the next runs of it go.
	next mood
	// told is the address that it was told last and took.
	told string
}

// programs has the next runs of the program go otherwise. w.mu is held.
func (w *World) programs(n uint64) {
	all := []string{"fail", "fail", "slow", "hang"}
	for i := range 1 + n%3 {
		w.program.next.next = append(w.program.next.next, all[mix(n, i)%uint64(len(all))])
	}
	w.tell("the program goes: %s", strings.Join(w.program.next.next, ", "))
}

// run runs a program. Those of other rules than its own fail now and then.
func (l *life) run(ctx context.Context, file string, _, env []string) ([]string, error) {
	if file != programFile {
		if x := l.lag(file, time.Millisecond, 90*time.Millisecond); x%8 > 0 {
			return nil, nil
		}
		return nil, errors.New("exit status 1")
	}
	pass(l.lag("program begins", time.Millisecond, 5*time.Millisecond)) // Not in one instant with others' effects
	l.mu.Lock()
	if err := l.effect("the program is run"); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	how := l.program.next.take()
	if how != "well" {
		l.story.fault("a program goes otherwise: " + how)
	}
	if l.runs++; l.runs > 1 {
		l.broken("the same rule has two programs run at once")
	}
	lag := l.spanOf("program", time.Millisecond, 800*time.Millisecond)
	l.mu.Unlock()
	switch how {
	case "slow":
		lag += 10 * time.Second
	case "hang":
		lag = time.Hour
	}
	return l.ran(ctx, how, env, lag)
}

// ran is how it ends.
func (l *life) ran(ctx context.Context, how string, env []string, lag time.Duration) ([]string, error) {
	began := time.Now()
	select {
	case <-time.After(lag):
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs--
	switch {
	case l.dead:
		return nil, errDead
	case time.Since(began) > programTimeout:
		l.broken("a program goes on for %s", time.Since(began))
		return nil, context.Cause(ctx)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case how == "fail":
		return []string{"no"}, errors.New("exit status 1")
	}
	for _, variable := range env {
		if value, is := strings.CutPrefix(variable, netwatch.Variable("new")+"="); is {
			l.program.told = value
		}
	}
	l.tell("the program is told %s", l.program.told)
	return nil, nil
}
