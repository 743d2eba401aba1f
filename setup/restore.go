package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"netwatch"
	"netwatch/machine"
)

// A Restore is a plan to put back what backups hold.
type Restore struct {
	Plan
	// Dirs are the directories of the backups, the newest first.
	Dirs []string
	// Moved are the files that stay because somebody changed them since.
	Moved   []string
	records []*record
	entries []entry  // those of Changes
	made    []string // directories that go if nothing else has come into them
	force   bool
	// away says that netwatch is to go: what was put in place alone is taken back, and
	// forgotten.
	away bool
}

// NewRestore plans to put everything back as it was before the first init, or as a
// backup has it whose directory is dir. A file that was changed since stays as it is,
// unless force is set; lines that were put into it go.
func NewRestore(tree machine.Tree, dir string, force bool) (r *Restore, err error) {
	r = &Restore{Plan: Plan{tree: tree}, force: force}
	if dir != "" {
		one, err := readRecord(tree, dir)
		if err != nil {
			return nil, err
		}
		r.records = []*record{one}
		return r, r.plan(func(entry) bool { return true })
	}
	if r.records, err = records(tree); err != nil {
		return nil, err
	}
	if len(r.records) == 0 {
		if _, err := os.ReadDir(tree.Host(backups)); errors.Is(err, fs.ErrPermission) {
			return nil, netwatch.WithHint(fmt.Errorf("restoring: %w", err), "run it as root")
		}
		return nil, netwatch.WithHint(fmt.Errorf("restoring: there is no backup in %s", backups),
			"name its directory: netwatch init --restore DIR")
	}
	return r, r.plan(func(e entry) bool { return !e.Undone })
}

// NewAway plans to take back what has others call netwatch, before netwatch goes. Only
// what is still as init left it goes.
func NewAway(tree machine.Tree) (r *Restore, err error) {
	r = &Restore{Plan: Plan{tree: tree}, away: true}
	if r.records, err = records(tree); err != nil {
		return nil, err
	}
	return r, r.plan(func(e entry) bool { return e.Calls && !e.Undone })
}

// Next are the commands that have everybody go by what was put back; file is the
// configuration.
func (r *Restore) Next(file string) (all []string) {
	for _, c := range r.Changes {
		switch name := c.File; {
		case strings.HasPrefix(name, "/etc/systemd/"):
			all = append([]string{"systemctl daemon-reload"}, all...)
		case isVPN(name):
			all = append(all, "systemctl try-restart "+netwatch.ShellPath(vpnUnit(name))+
				" has OpenVPN go by its file (the tunnel is down for a moment)")
		case name == file && c.After != nil:
			all = append(all, "systemctl reload netwatch.service, if it runs")
		case name == file:
			all = append(all, "systemctl stop netwatch.socket netwatch.service, if they run: there is no configuration any more")
		}
	}
	return slices.Compact(all)
}

// plan plans to undo the entries that are wanted, the newest first.
func (r *Restore) plan(wanted func(entry) bool) error {
	for _, rec := range r.records {
		some := false
		for i := range slices.Backward(rec.Entries) {
			e := &rec.Entries[i]
			if !wanted(*e) {
				continue
			}
			if err := r.undo(rec.dir, e); err != nil {
				return fmt.Errorf("restoring %s: %w", e.File, netwatch.WithoutPath(err))
			}
			some = true
		}
		if some {
			r.Dirs = append(r.Dirs, rec.dir)
		}
	}
	return nil
}

// undo plans to undo one change.
func (r *Restore) undo(dir string, e *entry) error {
	now, err := r.now(e.File)
	if err != nil {
		return err
	}
	var was []byte
	if e.Copy != "" {
		if was, err = r.tree.Read(dir + "/" + path.Base(e.Copy)); err != nil {
			return err
		}
	}
	was, as, ok := r.before(*e, now, was)
	switch {
	case !ok && r.away:
		return nil // It is another's now. Whether it calls netwatch is looked at afterwards.
	case !ok:
		r.Moved = append(slices.DeleteFunc(r.Moved, func(m string) bool { return m == e.File }), e.File)
		return nil
	}
	e.Undone = true
	r.made = append(r.made, e.Made...)
	if !same(now, was) {
		return r.set(e.File, was, as)
	}
	return nil
}

// same says whether two contents are, where nil is no file.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// before is what a file is to be that a change made what it is now, and the attributes
// that it is to have; nil are those that it has. It returns false if somebody has
// changed it since.
func (r *Restore) before(e entry, now, was []byte) (text []byte, as *attributes, ok bool) {
	put := was
	for _, lines := range e.Lines {
		put = append(bytes.Clone(put), lines...)
	}
	left := now != nil && netwatch.Fingerprint(now) == e.After || now == nil && e.After == ""
	lines := len(e.Lines) > 0 && now != nil
	switch {
	case same(now, was):
		return was, nil, true
	case lines && r.away, lines && !left && !r.force && netwatch.Fingerprint(put) == e.After:
		for _, l := range e.Lines {
			if now, ok = netwatch.WithoutLines(now, []byte(l)); !ok {
				return nil, nil, false
			}
		}
		return now, nil, true
	}
	return was, &e.attributes, left || r.force
}

// set plans that a file has this content.
func (r *Restore) set(file string, text []byte, as *attributes) error {
	i := slices.IndexFunc(r.Changes, func(c Change) bool { return c.File == file })
	if i < 0 {
		now, err := r.now(file)
		if err != nil {
			return err
		}
		e := entry{File: file}
		if now != nil {
			if e.attributes, err = r.unmoved(Change{File: file, Before: now}); err != nil {
				return err
			}
		}
		i, r.Changes, r.entries = len(r.Changes), append(r.Changes, Change{File: file, Before: now}), append(r.entries, e)
	}
	r.Changes[i].After = text
	if as != nil {
		r.entries[i].attributes = *as
	}
	return nil
}

// Callers are those who call the netwatch at program when all is put back.
func (r *Restore) Callers(program string) []machine.Caller {
	return machine.Callers(r.tree, program, func(file string) []byte {
		text, _ := r.now(file) // What cannot be read is as it was.
		return text
	})
}

// Apply puts all files back with their attributes, and notes that. done is called after
// each.
func (r *Restore) Apply(done func(Change)) error {
	for i, c := range r.Changes {
		if err := r.change(c, r.entries[i].attributes); err != nil {
			return explain("restoring", c.File, err)
		}
		done(c)
	}
	for _, dir := range r.made {
		_ = os.Remove(r.tree.Host(dir)) // If nothing else has come into it
	}
	for _, rec := range r.records {
		if err := r.note(rec); err != nil {
			return fmt.Errorf("noting in %s what was restored: %w", rec.dir, netwatch.WithoutPath(err))
		}
	}
	if r.away {
		_ = os.Remove(r.tree.Host(backups)) // If nothing is left in it
	}
	return nil
}

// note writes down what was undone of a backup.
func (r *Restore) note(rec *record) error {
	if !slices.ContainsFunc(rec.Entries, func(e entry) bool { return e.Undone }) {
		return nil
	}
	host, err := r.tree.Resolve(rec.dir)
	if err != nil {
		return err
	}
	if r.away {
		return rec.forget(host)
	}
	return rec.write(filepath.Clean(host))
}

// Print shows what is to be put back, and what is not.
func (r *Restore) Print(w io.Writer) {
	for _, dir := range r.Dirs {
		fmt.Fprintln(w, "backup:", netwatch.Printable(dir))
	}
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
