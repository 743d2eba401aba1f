package grant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// Where the drop-ins lie that leave a flag out; the last of all drop-ins of a unit.
const (
	unitsDir   = "/etc/systemd/system"
	flagDropIn = "zz-netwatch-flag.conf"
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
	paths, err := filepath.Glob(filepath.Join(unitsDir, "*.d", flagDropIn))
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
	line, err := commandOf(append([]string{shown["FragmentPath"]}, strings.Fields(shown["DropInPaths"])...))
	if err != nil {
		return f, false, fmt.Errorf("reading the unit %s: %w", unit, err)
	}
	without, address, found := withoutFlag(line, server.Flag)
	f = flag{unit: shown["Id"], target: target, address: address}
	f.dropIn = File{filepath.Join(unitsDir, f.unit+".d", flagDropIn), fmt.Sprintf(
		"# Written by netwatch grant, which writes it anew; see netwatch(8). Without %s the address\n"+
			"# in the file counts, which netwatch keeps right.\n[Service]\nExecStart=\nExecStart=%s\n", server.Flag, without)}
	return f, found, netwatch.CheckPlain(without)
}

// commandOf is the one ExecStart= of a unit that these files make, less our own; empty if
// it has none, or several.
func commandOf(files []string) (string, error) {
	var commands []string
	for _, file := range files {
		if file == "" || filepath.Base(file) == flagDropIn {
			continue
		}
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // It is gone since systemd read it
		}
		if err != nil {
			return "", err
		}
		commands = heed(commands, string(text))
	}
	if len(commands) != 1 {
		return "", nil
	}
	return commands[0], nil
}

// heed is the commands after those of a unit file; an empty one takes away all before it
// (systemd.service(5)).
func heed(commands []string, text string) []string {
	section := ""
	for _, line := range unitLines(text) {
		if strings.HasPrefix(line, "[") {
			section = line
		}
		value, is := strings.CutPrefix(line, "ExecStart=")
		switch value = strings.TrimSpace(value); {
		case !is || section != "[Service]":
		case value == "":
			commands = nil
		default:
			commands = append(commands, value)
		}
	}
	return commands
}

// unitLines are the lines of a unit file, joined where one ends in a backslash, without
// comments (systemd.syntax(7)).
func unitLines(text string) (all []string) {
	whole := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if more, goesOn := strings.CutSuffix(line, `\`); goesOn {
			whole += more + " "
			continue
		}
		all = append(all, whole+line)
		whole = ""
	}
	return append(all, whole)
}

// withoutFlag is a command line without a flag and its value, and the address that this
// is, if it is one. It is false if the flag is not there exactly once.
func withoutFlag(line, name string) (without string, address netip.Addr, found bool) {
	is := regexp.MustCompile(`\s+` + regexp.QuoteMeta(name) + `(?:=|\s+)("[^"]*"|'[^']*'|\S+)`)
	all := is.FindAllStringSubmatchIndex(line, -1)
	if len(all) != 1 {
		return line, address, false
	}
	at := all[0]
	address, _ = netip.ParseAddr(strings.Trim(line[at[2]:at[3]], `"'`)) // Or it is a variable's
	return line[:at[0]] + line[at[1]:], address, true
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
