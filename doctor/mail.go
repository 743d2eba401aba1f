package doctor

import (
	"context"
	"slices"

	"netwatch"
	"netwatch/actions"
)

// checkMail looks whether the mail server answers that steps give their mail to: what it
// is to tell of is mostly that something failed.
func checkMail(ctx context.Context, s *scene) (found []Finding) {
	for _, server := range slices.Compact(s.cfg.Needs().Mail) { // There is one for all
		if err := actions.AskMail(ctx, server); err != nil {
			found = append(found, Finding{Problem, "mail", err.Error(), netwatch.Hint(err)})
			continue
		}
		found = append(found, Finding{OK, "mail", server + " answers", ""})
	}
	return found
}
