package grant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
	"netwatch/systemd"
)

// maxUnit is the size of the largest file of a unit that is read.
const maxUnit = 1 << 20

// Generate makes the drop-ins of all marks below a directory, as a generator of systemd
// (systemd.generator(7)). It asks nobody, and reads root's files alone. What it cannot do
// leaves the flag where it is.
func Generate(dir string) error {
	marks, err := filepath.Glob(filepath.Join(systemd.UnitsDir, "*.d", systemd.FlagMark))
	for _, path := range marks {
		err = errors.Join(err, generate(dir, path))
	}
	return err
}

// generate makes the drop-in of one mark.
func generate(dir, path string) error {
	text, err := netwatch.ReadRegular(path, maxUnit)
	if err != nil {
		return err
	}
	f := flagged(strings.TrimSuffix(filepath.Base(filepath.Dir(path)), ".d"), string(text))
	if err := f.read(); err != nil {
		return fmt.Errorf("leaving a flag out of %s: %w", f.Unit, err)
	}
	if !f.found {
		return nil
	}
	file := filepath.Join(dir, f.Unit+".d", systemd.FlagDropIn)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // As systemd has them
		return err
	}
	return os.WriteFile(file, []byte(f.Text()), 0o644) //nolint:gosec // As systemd has them
}

// flagged is the flag of a unit with the mark that says so.
func flagged(unit, mark string) flag {
	f := flag{Flag: systemd.Flag{Unit: unit}}
	for line := range strings.Lines(mark) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
		case "Server":
			f.target.Server = value
		case "File":
			f.target.File = value
		}
	}
	return f
}

// mark is what has the flag left out from now on, in a section that systemd leaves alone.
func (f flag) mark() File {
	return File{f.Mark(), fmt.Sprintf(
		"# Written by netwatch grant, which takes it away; see netwatch(8). By it netwatch-generator\n"+
			"# leaves an address out of the command of this unit whenever systemd reads that, so that the\n"+
			"# one in the file counts, which netwatch keeps right.\n[X-Netwatch]\nServer=%s\nFile=%s\n",
		f.target.Server, f.target.File)}
}

// read finds the flag in the files of the unit. It is found only where the command names
// the file that is to count.
func (f *flag) read() error {
	server, err := servers.Named(f.target.Server)
	if err != nil || server.Flag == "" {
		return err
	}
	texts, err := systemd.UnitTexts(systemd.UnitFiles(f.Unit), byRoot)
	line := systemd.CommandLine(texts...)
	if err != nil || !systemd.StartedWith(f.specified(line), f.target.File) {
		return err
	}
	f.Flag, f.found = systemd.FindFlag(f.Unit, server.Flag, texts...)
	return netwatch.CheckPlain(line)
}

// specified is a command with the names of the unit in the place of its specifiers
// (systemd.unit(5)).
func (f *flag) specified(line string) string {
	stem := strings.TrimSuffix(f.Unit, ".service")
	prefix, instance, _ := strings.Cut(stem, "@")
	return strings.NewReplacer("%%", "%", "%n", f.Unit, "%N", stem, "%p", prefix, "%i", instance).Replace(line)
}

// byRoot reads a file of a unit. Of what others than root could change nothing is taken: a
// pipe of theirs would hold up systemd, and a line is a command. One that is masked is none.
func byRoot(file string) ([]byte, error) {
	if _, whole, err := access.ByRoot(file); err == nil && !whole {
		return nil, fmt.Errorf("others than root decide what is in %s", file)
	}
	text, err := netwatch.ReadRegular(file, maxUnit)
	if errors.Is(err, netwatch.ErrNotRegular) {
		return nil, nil
	}
	return text, err
}
