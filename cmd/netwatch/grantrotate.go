package main

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

// rotationNeed is what a rotation needs. What there is to be said about the way to
// its file is the finding.
func rotationNeed(ctx context.Context, r *actions.Rotation) (g rotationGrant, finding, err error) {
	file := string(r.File)
	g.Grant = helper.Grant{File: file, Private: r.Private}
	g.Readers, err = systemd.Readers(ctx, file, r.Units)
	g.dirs, finding = directories(file)
	return g, finding, err
}

// directories are those in which a file is replaced: that of its path, and the one
// that symlinks lead to where root alone could have made them. systemd follows the
// links in a path itself, so that where another can make some the sandbox is no
// fence; that is the way of the rewrite (package rewrite).
func directories(file string) (all []string, finding error) {
	named := filepath.Dir(file)
	w, err := access.Walk(file)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{named}, nil
	}
	if err != nil {
		return []string{named}, fmt.Errorf("going the way to %s: %w", file, err)
	}
	defer w.Close()
	switch reached, byRoot := w.Reached(); {
	case reached == named:
		return []string{named}, nil
	case !byRoot:
		err := fmt.Errorf("%s leads over a symlink or directory that others than root can change, to %s", file, w.Place())
		return []string{named}, netwatch.WithHint(err,
			"name the real file in the step: what they lead to is not opened to netwatch's helper")
	default:
		return []string{named, reached}, nil
	}
}
