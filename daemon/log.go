package daemon

import (
	"bytes"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	journald "github.com/coreos/go-systemd/v22/journal"
	"github.com/rs/zerolog"
)

// maxLines is how many lines wait for a log that takes none: a few hours of a quiet
// daemon, and at most a few megabytes.
const maxLines = 1024

// flushTime is how long the lines that wait may still be taken when netwatch ends.
const flushTime = time.Second

// NewLog logs to w, for a person on a terminal and in JSON elsewhere. Whoever reads
// that may stand still or go away: nothing waits for it, and nothing ends. What
// other packages log goes the same way. At the end flush waits for a moment until
// all is written.
func NewLog(w io.Writer, terminal bool) (log zerolog.Logger, flush func()) {
	// Go ends a program whose output is a broken pipe, unless it asks to be told.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	q := newLogQueue(logTo(w, terminal))
	log = zerolog.New(q).With().Timestamp().Logger()
	stdlog.SetFlags(0)
	stdlog.SetOutput(log)
	return log, q.flush
}

func logTo(w io.Writer, terminal bool) zerolog.LevelWriter {
	switch {
	case terminal:
		return zerolog.LevelWriterAdapter{Writer: zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: true}}
	case isJournal(w):
		return journal{journald.Send, w}
	}
	return zerolog.LevelWriterAdapter{Writer: w}
}

// A logQueue hands lines to a log, one after the other, and never keeps who writes
// them waiting. Lines that the log does not take are counted, and the count is the
// first thing that it is told once it takes lines again.
type logQueue struct {
	to    zerolog.LevelWriter
	lines chan logLine
	lost  atomic.Int64
}

// A logLine is a line, or asks to be told when those before it are dealt with.
type logLine struct {
	level zerolog.Level
	text  []byte
	dealt chan<- struct{}
}

// newLogQueue starts a queue. It ends with the process.
func newLogQueue(to zerolog.LevelWriter) *logQueue {
	q := &logQueue{to: to, lines: make(chan logLine, maxLines)}
	go func() {
		for line := range q.lines {
			q.hand(line)
		}
	}()
	return q
}

// Write takes a line without a level.
func (q *logQueue) Write(line []byte) (int, error) { return q.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel takes a line, and never fails.
func (q *logQueue) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	select {
	case q.lines <- logLine{level: level, text: bytes.Clone(line)}:
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) hand(line logLine) {
	if line.dealt != nil {
		close(line.dealt)
		return
	}
	if lost := q.lost.Load(); lost > 0 && q.put(zerolog.WarnLevel, lostLine(lost)) {
		q.lost.Add(-lost)
	}
	if !q.put(line.level, line.text) {
		q.lost.Add(1)
	}
}

func (q *logQueue) put(level zerolog.Level, line []byte) bool {
	_, err := q.to.WriteLevel(level, line)
	return err == nil
}

// lostLine says how many lines were lost.
func lostLine(lost int64) []byte {
	var text bytes.Buffer
	log := zerolog.New(&text).With().Timestamp().Logger()
	log.Warn().Int64("lost", lost).Msg("the log has not taken so many lines")
	return text.Bytes()
}

// flush waits for a moment until all lines are taken.
func (q *logQueue) flush() {
	over, dealt := time.After(flushTime), make(chan struct{})
	select {
	case q.lines <- logLine{dealt: dealt}:
	case <-over:
		return
	}
	select {
	case <-dealt:
	case <-over:
	}
}
