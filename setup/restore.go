package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"netwatch"
	"netwatch/machine"
)

// NewRestore plans to put everything back as a backup has it. dir is the directory of
// the backup; empty is the newest. A file that was changed since stays as it is,
// unless force is set.
func NewRestore(tree machine.Tree, dir string, force bool) (r *Restore, err error) {
	if dir == "" {
		all := tree.Glob(backups + "/*/" + manifestFile)
		if len(all) == 0 {
			return nil, netwatch.WithHint(fmt.Errorf("restoring: there is no backup in %s", backups),
				"name its directory: netwatch init --restore DIR")
		}
		dir = path.Dir(all[len(all)-1])
	}
	text, err := tree.Read(dir + "/" + manifestFile)
	if err != nil {
		return nil, fmt.Errorf("restoring: reading the manifest of %s: %w", dir, netwatch.WithoutPath(err))
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("restoring: reading the manifest of %s: %w", dir, err)
	}
	r = &Restore{Plan: Plan{tree: tree}, Dir: dir}
	for _, e := range slices.Backward(m.Entries) {
		if err := r.entry(e, force); err != nil {
			return nil, fmt.Errorf("restoring %s: %w", e.File, netwatch.WithoutPath(err))
		}
	}
	return r, nil
}

// A Restore is a plan to put back what a backup holds.
type Restore struct {
	Plan
	// Dir is the directory of the backup.
	Dir string
	// Moved are the files that stay because somebody changed them since.
	Moved   []string
	entries []entry // those of Changes
}

// entry plans to undo one change.
func (r *Restore) entry(e entry, force bool) error {
	now, err := r.tree.Read(e.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var was []byte
	if e.Copy != "" {
		if was, err = r.tree.Read(r.Dir + "/" + path.Base(e.Copy)); err != nil {
			return err
		}
	}
	after := now != nil && netwatch.Fingerprint(now) == e.After || now == nil && e.After == ""
	switch {
	case (now == nil) == (e.Copy == "") && bytes.Equal(now, was):
	case !after && !force:
		r.Moved = append(r.Moved, e.File)
	default:
		r.Changes, r.entries = append(r.Changes, Change{File: e.File, Before: now, After: was}), append(r.entries, e)
	}
	return nil
}

// Apply puts all files back with their attributes. done is called after each.
func (r *Restore) Apply(done func(Change)) error {
	for i, c := range r.Changes {
		err := r.unmoved(c)
		if err == nil {
			err = r.change(c, r.entries[i])
		}
		if err != nil {
			return fmt.Errorf("restoring %s: %w", c.File, netwatch.WithoutPath(err))
		}
		if made := r.entries[i].Made; made != "" {
			_ = os.Remove(r.tree.Host(made)) // If nothing else has come into it
		}
		done(c)
	}
	return nil
}

// Print shows what is to be put back, and what is not.
func (r *Restore) Print(w io.Writer) {
	for _, c := range r.Changes {
		what := "put back"
		if c.After == nil {
			what = "remove"
		}
		fmt.Fprintf(w, "%s %s\n", what, netwatch.Printable(c.File))
	}
	for _, file := range r.Moved {
		fmt.Fprintf(w, "stays: %s: somebody changed it since (--force puts it back all the same)\n", netwatch.Printable(file))
	}
}
