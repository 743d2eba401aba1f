package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"netwatch"
	"netwatch/machine"
	"netwatch/servers"
	"netwatch/systemd"
)

// A coturn is a coturn that runs, or will at the next boot.
type coturn struct {
	machine.Turn
	text []byte
	// offer is what its file offers to callers; nil if nobody can tell.
	offer *servers.Offer
	unit  systemd.UnitLook
}

// lookAtTurns looks at the coturns that were found. A file that nobody starts coturn with
// is of no caller's concern.
func (s *scene) lookAtTurns(ctx context.Context) (all []coturn) {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	for _, t := range s.found.Turns {
		look, err := s.lookUnit(ctx, t.Unit)
		if err != nil || !look.Running && !look.Moving && look.File != "enabled" {
			continue
		}
		found := coturn{Turn: t, unit: look}
		found.text, _ = s.Tree.Read(t.File) // What may not be read is among the unread
		if server, err := servers.Named("coturn"); err == nil {
			found.offer, _ = server.Offer(found.text, time.Now())
		}
		all = append(all, found)
	}
	return all
}

// debianUnit is Debian's own coturn.
const debianUnit = "coturn.service"

// idle says whether Debian's own coturn runs, and nobody has set it up.
func (s *scene) idle(ctx context.Context) bool {
	if slices.ContainsFunc(s.found.Turns, func(t machine.Turn) bool { return t.Unit == debianUnit }) {
		return false
	}
	look, err := s.lookUnit(ctx, debianUnit)
	return err == nil && look.Running
}

// hidden says that a process may not be looked at.
var hidden = netwatch.WithHint(errors.New("the network of its process is not seen from here"),
	"run netwatch doctor as root")

// elsewhere says whether a unit runs in a network of its own, as in a container: this
// machine's addresses say nothing about it.
func (t coturn) elsewhere() (bool, error) {
	if t.Elsewhere || t.unit.PID == 0 {
		return t.Elsewhere, nil
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false, fmt.Errorf("reading the own network: %w", err)
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", t.unit.PID))
	switch {
	case errors.Is(err, fs.ErrNotExist): // It has ended meanwhile, or /proc hides it
		return false, hidden
	case err != nil:
		return false, fmt.Errorf("%w: %w", hidden, fs.ErrPermission)
	}
	return its != ours, nil
}

// sameFile says whether two names lead to one file.
func (s *scene) sameFile(a, b string) bool {
	at, err := s.Tree.Resolve(a)
	other, errOther := s.Tree.Resolve(b)
	return a == b || err == nil && errOther == nil && at == other
}

// restart is the command that restarts a unit.
func restart(unit string) string { return "systemctl restart " + netwatch.ShellPath(unit) }
