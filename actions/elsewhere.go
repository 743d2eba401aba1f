package actions

import (
	"context"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// Elsewhere says whether the server of a file may have another network than this machine's,
// as in a container: whether none of the units that steps work on is known to run it here.
// Where that changes nothing in the file, it is not asked.
func Elsewhere(ctx context.Context, bus *systemd.Bus, r servers.Rotation, steps []netwatch.Step) bool {
	server, err := servers.Named(r.Server)
	if err != nil || server.Placed == nil {
		return false
	}
	conf, err := netwatch.ReadRegular(r.File, maxConf)
	if err == nil && !server.Placed(conf, r.Here) {
		return false
	}
	return !slices.ContainsFunc(unitsNamed(ctx, bus, netwatch.Job{}, NeedsOf(steps...).UnitNames()...), runsTurn)
}

// runsTurn says whether a unit starts coturn on this machine.
func runsTurn(st systemd.State) bool {
	names := func(word string) bool { return strings.Contains(word, "turnserver") }
	return slices.ContainsFunc(st.Words, names) && !st.CallsEngine()
}
