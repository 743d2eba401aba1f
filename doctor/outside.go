package doctor

import (
	"cmp"
	"context"
	"errors"
	"time"

	"netwatch"
	"netwatch/control"
)

// outsideTime is how long other machines may take to look at all that is here: each server
// takes ten seconds at most.
const outsideTime = time.Minute

// outside is what the check is called, and longer has the deadlines of those that need
// another than checkTime.
const outside = "from outside"

var longer = map[string]time.Duration{outside: outsideTime}

// checkOutside has other machines look at the servers from outside, where the configuration
// knows others. Only the daemon can ask them.
func checkOutside(ctx context.Context, s *scene) (found []Finding) {
	if s.Verify == nil || !s.cfg.Tells() {
		return nil
	}
	if _, err := s.daemon(); err != nil {
		return nil // That is said of the daemon
	}
	err := s.Verify(ctx, func(v control.Verified) { found = append(found, judgeOutside(v)) })
	if errors.Is(err, control.ErrNotPermitted) {
		err = netwatch.WithHint(err, "run netwatch doctor as root")
	}
	if err != nil {
		found = append(found, Finding{Unknown, outside, err.Error(), netwatch.Hint(err)})
	}
	return found
}

// judgeOutside says what it means what other machines saw.
func judgeOutside(v control.Verified) Finding {
	f := Finding{OK, outside + ", " + v.File, cmp.Or(v.Error, v.Detail), v.Hint}
	switch v.Outcome {
	case netwatch.Failed:
		f.Level = Problem
	case netwatch.Skipped:
		f.Level = Unknown
	}
	return f
}
