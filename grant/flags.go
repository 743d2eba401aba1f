package grant

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// Flags are what has to be done so that the file of a server counts, which netwatch keeps
// right, and not an address in the command line of its unit (servers.Server.Flag), which
// nobody does.
type Flags struct {
	flags []flag
	// stale are drop-ins of units that have no such flag any more, or are not ours to
	// change.
	stale []File
}

// A flag is a unit with an address in its command line.
type flag struct {
	unit    string
	target  servers.Target
	address netip.Addr
	dropIn  File
}

// Flags finds the units that the rules work on which have such a flag.
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
			if found {
				all.flags = append(all.flags, f)
				all.stale = slices.DeleteFunc(all.stale, func(s File) bool { return s.Path == f.dropIn.Path })
			}
		}
	}
	return all, nil
}

// standing are all drop-ins that were written before, as they are to be taken away.
func standing() (all []File, err error) {
	paths, err := filepath.Glob(filepath.Join(systemd.UnitsDir, "*.d", systemd.FlagDropIn))
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
	shown, err := systemd.Show(ctx, unit, "Id", "FragmentPath", "DropInPaths", "ExecStart")
	if err != nil || !systemd.StartedWith(shown["ExecStart"], target.File) || target.Itself() { // Then neither counts
		return f, false, err
	}
	files := append([]string{shown["FragmentPath"]}, strings.Fields(shown["DropInPaths"])...)
	texts, err := systemd.UnitTexts(files, os.ReadFile)
	if err != nil {
		return f, false, fmt.Errorf("reading the unit %s: %w", unit, err)
	}
	is, found := systemd.FindFlag(shown["Id"], server.Flag, texts...)
	return flag{is.Unit, target, is.Address, File{is.DropIn(), is.Text()}}, found, nil
}

// Files are the drop-ins as they are to be.
func (f Flags) Files() (all []File) {
	for _, flag := range f.flags {
		all = append(all, flag.dropIn)
	}
	return append(all, f.stale...)
}

// Put has each file say what the flag says, if it says nothing, so that nothing changes
// for callers; then leaves out the flag, at the next start of the unit. It returns what
// was done, and what could not be.
func (f Flags) Put(ctx context.Context) (done []string, failed []error) {
	changed := false
	put := func(file File) {
		did, err := file.Put()
		if err != nil {
			failed = append(failed, err)
			return
		}
		changed = changed || did == netwatch.Changed
		done = append(done, fmt.Sprintf("%s: %s", file.Path, did))
	}
	for _, flag := range f.flags {
		moved, err := flag.move(ctx)
		if err != nil {
			failed = append(failed, fmt.Errorf("leaving a flag out of %s: %w", flag.unit, err))
			continue
		}
		if moved.Outcome == netwatch.Changed {
			done = append(done, fmt.Sprintf("%s: %s: %s", flag.target.File, moved.Outcome, moved.Detail))
		}
		put(flag.dropIn)
	}
	for _, file := range f.stale {
		put(file)
		_ = os.Remove(filepath.Dir(file.Path)) // If it is empty now
	}
	if changed {
		if err := systemd.ReadUnits(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	return done, failed
}

// move writes the address of the flag into a file that names none. A file without an
// address would be worse than the flag: that is an error.
func (f flag) move(ctx context.Context) (netwatch.Result, error) {
	public := netwatch.Addresses{}
	if f.address.IsValid() {
		public[netwatch.FamilyOf(f.address)] = netwatch.Address{Address: f.address}
	}
	named, err := f.target.Names()
	if err != nil || named {
		return netwatch.Result{}, err
	}
	_ = os.MkdirAll(servers.AddedDir, 0o700) // Before the helper's first start; else the line only stays
	moved := f.target.To(public, nil).Do(ctx, nil)
	if moved.Err != nil {
		return moved, moved.Err
	}
	if named, err = f.target.Names(); err == nil && !named {
		err = netwatch.WithHint(fmt.Errorf("%s names no address", f.target.File),
			"netwatch fire ip-changed writes one; then systemctl reload netwatch")
	}
	return moved, err
}
