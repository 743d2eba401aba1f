package doctor

import (
	"context"
	"fmt"
)

// A Daemon is what the running daemon says of itself.
type Daemon struct {
	Version string
	PID     int
	// Refused is why it does not heed the configuration as it is now.
	Refused string
	// AtRisk is what a restart of it would forget, and why, and Remedy what helps.
	AtRisk, Remedy string
	// Troubles are what keeps its sources and rules from working, by their names.
	Troubles [][2]string
}

// checkDaemon looks whether the daemon runs, is this program, and is well.
func checkDaemon(_ context.Context, s *scene) []Finding {
	const what = "daemon"
	d, err := s.daemon()
	if err != nil {
		return []Finding{wrong(Problem, what, err)}
	}
	var found []Finding
	if d.Version != s.Version {
		found = append(found, Finding{
			Warning, what, fmt.Sprintf("it is version %s, and this program %s", d.Version, s.Version),
			"systemctl restart netwatch.service",
		})
	}
	if d.Refused != "" {
		found = append(found, Finding{
			Problem, what, "it goes by an older configuration: " + d.Refused,
			"netwatch check, then systemctl reload netwatch.service",
		})
	}
	if d.AtRisk != "" {
		found = append(found, Finding{Problem, "state", d.AtRisk, d.Remedy})
	}
	for _, t := range d.Troubles {
		found = append(found, Finding{Problem, t[0], t[1], "netwatch status shows more"})
	}
	if found == nil {
		found = []Finding{{OK, what, fmt.Sprintf("version %s, process %d", d.Version, d.PID), ""}}
	}
	return found
}
