package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// A slowLog takes lines while it is open, and fails while it is broken.
type slowLog struct {
	bytes.Buffer
	open   chan struct{}
	broken bool
}

func (l *slowLog) WriteLevel(_ zerolog.Level, line []byte) (int, error) {
	<-l.open
	if l.broken {
		return 0, errors.New("broken")
	}
	return l.Write(line)
}

// write writes as many lines to a queue.
func write(q *logQueue, lines int) {
	for n := range lines {
		fmt.Fprintf(q, "line %d\n", n)
	}
}

// lostOf is how many lines it says are lost, and how many others there are.
func lostOf(text string) (lost, lines int) {
	for line := range strings.Lines(text) {
		if _, number, is := strings.Cut(line, `"lost":`); is {
			n, _ := strconv.Atoi(strings.Split(number, ",")[0]) // 0 would be missed.
			lost += n
		} else {
			lines++
		}
	}
	return lost, lines
}

// Who writes never waits; what a log that stands still does not take is counted,
// and said once it goes on.
func TestLogStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{open: make(chan struct{})}
		q := newLogQueue(l)
		defer close(q.lines)
		write(q, 3*maxLines)
		began := time.Now()
		q.flush()
		if took := time.Since(began); took != flushTime {
			t.Errorf("at the end it waits %v for a log that takes nothing", took)
		}
		close(l.open)
		q.flush()
		write(q, 1)
		q.flush()
		if lost, lines := lostOf(l.String()); lost == 0 || lost+lines != 3*maxLines+1 {
			t.Errorf("%d lines are lost and %d are there, of %d", lost, lines, 3*maxLines+1)
		}
		if first := strings.Join(strings.Split(l.String(), "\n")[:2], "\n"); !strings.Contains(first, `"lost":`) {
			t.Errorf("the loss is not said at once, but: %s", first)
		}
	})
}

// The same of a log that fails.
func TestLogIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{open: make(chan struct{}), broken: true}
		close(l.open)
		q := newLogQueue(l)
		defer close(q.lines)
		write(q, 5)
		q.flush()
		l.broken = false
		write(q, 2)
		q.flush()
		if lost, lines := lostOf(l.String()); lost != 5 || lines != 2 {
			t.Errorf("it says:\n%s", l.String())
		}
	})
}
