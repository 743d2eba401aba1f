package grant

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

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

// helperDropIn is the drop-in that lets the helper do the rotations, or empty.
// What it may do stands there and is not read from the configuration, which may
// have mistakes at the moment, or not be in force yet.
func helperDropIn(rotations []rotationGrant, accept []netip.Prefix) (string, error) {
	if len(rotations) == 0 {
		return "", nil
	}
	s := helper.Server{Accept: accept}
	var dirs []string
	for _, r := range rotations {
		s.Granted = append(s.Granted, r.Grant)
		dirs = append(dirs, r.dirs...)
	}
	text := "# Written by netwatch grant, which writes it anew; see netwatch(8).\n[Service]\n"
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(dirs))) {
		word, err := quote("-" + dir) // The minus: it need not be there.
		if err != nil {
			return "", err
		}
		text += "ReadWritePaths=" + word + "\n"
	}
	word, err := quote(helper.Environment + "=" + s.String())
	return text + "Environment=" + word + "\n", err
}

// specifiersAndQuotes are what a word in double quotes must not have as they
// are (systemd.unit(5), systemd.syntax(7)).
var specifiersAndQuotes = strings.NewReplacer("%", "%%", `"`, `\"`, `\`, `\\`)

// quote is a word for a unit file, where a line that somebody else could begin is
// a command of root's.
func quote(word string) (string, error) {
	return `"` + specifiersAndQuotes.Replace(word) + `"`, netwatch.CheckPlain(word)
}
