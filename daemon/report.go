package daemon

import (
	"time"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/state"
)

// unwritten reports that the disk refuses the state, and that it no longer does.
func (d *Daemon) unwritten(u *state.Unwritten) {
	e := netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote}
	if u != nil {
		e.Error, e.Hint = u.Error+"; "+u.Risk(), u.Hint
	} else {
		e.Detail = "the state is on disk again: nothing is at risk any more"
	}
	d.report(e)
}

// note reports what went wrong outside of any run.
func (d *Daemon) note(err error) {
	d.report(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Error: err.Error(), Hint: netwatch.Hint(err)})
}

// report puts an entry into the log and into history, and counts it.
func (d *Daemon) report(e netwatch.Entry) {
	d.history.Add(e)
	d.metrics.Add(e)
	e = e.Brief()
	level := zerolog.InfoLevel
	if e.Outcome == netwatch.Failed || e.Error != "" {
		level = zerolog.ErrorLevel
	}
	line := d.log.WithLevel(level)
	for _, field := range [][2]string{
		{"id", e.ID},
		{"event", e.Event},
		{"source", e.Source},
		{"rule", e.Rule},
		{"step", e.Step},
		{"outcome", string(e.Outcome)},
		{"detail", e.Detail},
		{"error", e.Error},
		{"hint", e.Hint},
	} {
		if field[1] != "" {
			line.Str(field[0], field[1])
		}
	}
	if len(e.IDs) > 1 {
		line.Strs("ids", e.IDs)
	}
	if len(e.Fields) > 0 {
		line.Interface("fields", e.Fields)
	}
	if e.Kind == netwatch.EntryStep || e.Kind == netwatch.EntryRun {
		line.Float64("seconds", e.Seconds)
	}
	if e.Retry != nil {
		line.Time("retry", *e.Retry)
	}
	line.Msg(e.Kind)
}
