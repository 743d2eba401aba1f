package grant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/helper"
	"netwatch/systemd"
)

// A rotationGrant is what the helper may do to a file, and the directories that
// are opened to it for that.
type rotationGrant struct {
	helper.Grant
	dirs []string
}

// rotationNeed is what a rotation needs.
func rotationNeed(ctx context.Context, r *actions.Rotation) (g rotationGrant, err error) {
	g.Grant = helper.Grant{Target: r.Target}
	g.Readers, err = systemd.Readers(ctx, r.File, r.Units)
	g.dirs = opened(r.File)
	return g, err
}

// opened are the directories that have to be opened to the helper for a file: that
// of its path and the one that symlinks lead to, each as far as nobody but root could
// lead there. What lies behind, in a place of another, is open with that: systemd
// fails to start the helper, for every file, where a name that another chose cannot
// be mounted, and follows links itself, so that there the sandbox is no fence. The
// fence is the way of the rewrite (package rewrite).
func opened(file string) []string {
	dir, whole, err := access.ByRoot(file)
	switch named := filepath.Dir(file); {
	case errors.Is(err, fs.ErrNotExist):
		return []string{named}
	case err != nil:
		return nil // what is no way to a file is not to be mounted either, and the step says why
	case whole:
		return []string{named, dir}
	}
	return []string{dir}
}

// elsewhere is the finding that a file is not where its path says, by the doing of
// others than root, so that the helper may not be able to write there.
func elsewhere(file string) error {
	w, err := access.Walk(file)
	if err != nil {
		return nil // the step says so
	}
	defer w.Close()
	if w.LedByRoot() || w.Place() == file {
		return nil
	}
	err = fmt.Errorf("%s leads over a symlink that others than root can change, to %s", file, w.Place())
	return netwatch.WithHint(err, "name the real file in the step: what they lead to is not opened to netwatch's helper")
}
