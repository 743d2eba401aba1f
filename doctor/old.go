package doctor

import (
	"context"
	"errors"
	"io/fs"

	"netwatch"
)

// checkOld looks for what netwatch replaces and what still works against it.
func checkOld(_ context.Context, s *scene) (found []Finding) {
	for _, o := range s.found.Old {
		hint := "netwatch init --migrate takes it out"
		switch {
		case o.Idle:
			continue
		case o.Kept != "":
			hint = o.Kept
		}
		found = append(found, Finding{Problem, o.File, "an old way is still in use: " + o.What, hint})
	}
	for _, err := range s.found.Unread {
		found = append(found, notSeen(err))
	}
	if found == nil {
		found = []Finding{{OK, "old scripts", "there are none", ""}}
	}
	return found
}

// notSeen is a finding about something here that could not be looked at. Only where
// rights are missing does root see more.
func notSeen(err error) Finding {
	f := Finding{Unknown, "this machine", err.Error(), netwatch.Hint(err)}
	if errors.Is(err, fs.ErrPermission) {
		f.Hint = "run netwatch doctor as root"
	}
	return f
}
