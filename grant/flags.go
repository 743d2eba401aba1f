package grant

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// Flags are what has to be done so that the file of a server counts, which netwatch keeps
// right, and not an address in the command line of its unit (servers.Server.Flag), which
// nobody does.
type Flags struct {
	flags []flag
	// stale are marks of units that no rule works on, or that are not ours to change.
	stale []File
}

// A flag is a unit of a server that may have an address in its command line.
type flag struct {
	systemd.Flag
	target servers.Target
	// found says that it has, and err why that cannot be told.
	found bool
	err   error
}

// Flags finds the units that the rules work on which may have such a flag, now or after
// the next upgrade of their app.
func (n Needs) Flags(ctx context.Context) (all Flags, err error) {
	all.stale, err = standing()
	if err != nil {
		return all, err
	}
	for _, r := range n.rotations {
		for _, unit := range r.units {
			f, found, err := flagOf(ctx, r.Target, unit)
			if err != nil {
				return all, err
			}
			if !found {
				continue
			}
			all.flags = append(all.flags, f)
			all.stale = slices.DeleteFunc(all.stale, func(s File) bool { return f.err == nil && s.Path == f.Mark() })
		}
	}
	return all, nil
}

// standing are all marks that were written before, as they are to be taken away.
func standing() (all []File, err error) {
	paths, err := filepath.Glob(filepath.Join(systemd.UnitsDir, "*.d", systemd.FlagMark))
	for _, path := range paths {
		all = append(all, File{Path: path})
	}
	return all, err
}

// flagOf is the flag of a unit that is started with the file of a server.
func flagOf(ctx context.Context, target servers.Target, unit string) (f flag, found bool, err error) {
	server, err := servers.Named(target.Server)
	if err != nil || server.Flag == "" {
		return f, false, err
	}
	shown, err := systemd.Show(ctx, unit, "Id", "ExecStart")
	if err != nil || !systemd.StartedWith(shown["ExecStart"], target.File) || target.Itself() { // Then neither counts
		return f, false, err
	}
	f = flag{Flag: systemd.Flag{Unit: shown["Id"], Name: server.Flag}, target: target}
	f.err = errors.Join(netwatch.CheckPlain(f.Unit), netwatch.CheckPlain(target.File), f.read())
	return f, true, nil
}

// Files are the marks as they are to be, and what comes of them.
func (f Flags) Files() (all []File) {
	for _, flag := range f.flags {
		if flag.err == nil {
			all = append(all, flag.mark())
		}
		if flag.found {
			all = append(all, File{flag.DropIn(), flag.Text()})
		}
	}
	return append(all, f.stale...)
}

// Put has each file say what the flag says, if it says nothing, so that nothing changes
// for callers; then leaves out the flag, at the next start of the unit. It returns what
// was done, and what could not be.
func (f Flags) Put(ctx context.Context) (done []string, failed []error) {
	changed := false
	put := func(file File) error {
		did, err := file.Put()
		if err == nil {
			changed = changed || did == netwatch.Changed
			done = append(done, fmt.Sprintf("%s: %s", file.Path, did))
		}
		return err
	}
	for _, flag := range f.flags {
		moved, err := flag.move(ctx)
		if moved != "" {
			done = append(done, moved)
		}
		if err == nil {
			err = put(flag.mark())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("leaving a flag out of %s: %w", flag.Unit, err))
		}
	}
	for _, file := range f.stale {
		if err := put(file); err != nil {
			failed = append(failed, err)
		}
		_ = os.Remove(filepath.Dir(file.Path)) // If it is empty now
	}
	return done, append(failed, f.heeded(ctx, changed)...)
}

// heeded has systemd read its units anew, if marks have changed or it has some flag still
// that can be left out, and says what flags are there all the same.
func (f Flags) heeded(ctx context.Context, changed bool) (failed []error) {
	marked := slices.DeleteFunc(slices.Clone(f.flags), func(f flag) bool { return !f.mark().stands() })
	if changed || slices.ContainsFunc(marked, func(f flag) bool { return f.found && f.stays(ctx) != nil }) {
		if err := systemd.ReadUnits(ctx); err != nil {
			return []error{err}
		}
	}
	for _, flag := range marked {
		if err := flag.stays(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// stays says that systemd has the flag in the command of the unit.
func (f flag) stays(ctx context.Context) error {
	shown, err := systemd.Show(ctx, f.Unit, "ExecStart")
	if err != nil || !f.In(shown["ExecStart"]) {
		return err
	}
	err = fmt.Errorf("leaving a flag out of %s: systemd has %s in its command still", f.Unit, f.Name)
	if !f.found {
		return netwatch.WithHint(err, "no drop-in can leave it out as it stands there: netwatch doctor says what can be done")
	}
	return netwatch.WithHint(err,
		"what it asks is /usr/lib/systemd/system-generators/netwatch-generator, which must be there and may be executed")
}

// move writes the address of the flag into a file that names none, and returns what it
// did. A file without an address would be worse than the flag: that is an error.
func (f flag) move(ctx context.Context) (done string, err error) {
	if f.err != nil || !f.found {
		return "", f.err
	}
	public := netwatch.Addresses{}
	if f.Address.IsValid() {
		public[netwatch.FamilyOf(f.Address)] = netwatch.Address{Address: f.Address}
	}
	named, err := f.target.Names()
	if err != nil || named {
		return "", err
	}
	_ = os.MkdirAll(servers.AddedDir, 0o700) // Before the helper's first start; else the line only stays
	moved := f.target.To(public, nil).Do(ctx, nil)
	if moved.Err != nil {
		return "", moved.Err
	}
	if moved.Outcome == netwatch.Changed {
		done = fmt.Sprintf("%s: %s: %s", f.target.File, moved.Outcome, moved.Detail)
	}
	if named, err = f.target.Names(); err == nil && !named {
		err = netwatch.WithHint(fmt.Errorf("%s names no address", f.target.File),
			"netwatch fire ip-changed writes one; then systemctl reload netwatch")
	}
	return done, err
}
