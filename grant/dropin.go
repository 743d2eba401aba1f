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
	"netwatch/helper"
	"netwatch/servers"
	"netwatch/systemd"
)

// A rotationGrant is what the helper may do to a file, and the directories that
// are opened to it for that.
type rotationGrant struct {
	helper.Grant
	dirs []string
}

// A rotation is a file that is rewritten, and the units that the rule works on which
// does it: their users have to be able to read it.
type rotation struct {
	servers.Target
	units []string
}

// rotationNeed is what a rotation needs.
func rotationNeed(ctx context.Context, r rotation) (g rotationGrant, err error) {
	g.Grant = helper.Grant{Target: r.Target}
	g.Readers, err = systemd.Readers(ctx, r.File, r.units)
	g.dirs = opened(r.File)
	return g, err
}

// opened are the directories that the sandbox of the helper opens for a file: that of
// its path, and the one that symlinks lead to. If somebody else than root decides where
// the way leads from some directory on, it is that directory, with everything below.
// A name that another user chose is never mounted: if it could not be, systemd would
// start the helper for no file at all. Besides, systemd follows symlinks, so that the
// sandbox is no fence there. The fence is the way of the rewrite (package rewrite).
func opened(file string) []string {
	dir, whole, err := access.ByRoot(file)
	switch named := filepath.Dir(file); {
	case errors.Is(err, fs.ErrNotExist):
		return []string{named}
	case err != nil:
		return nil // What is no way to a file is not to be mounted either, and the step says why
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
