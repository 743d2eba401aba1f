package doctor

import (
	"context"
	"errors"
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
	if len(s.found.Unread) > 0 {
		return append(found, wrong(Unknown, "old scripts", errors.Join(s.found.Unread...)))
	}
	if found == nil {
		found = []Finding{{OK, "old scripts", "there is none", ""}}
	}
	return found
}
