package grant

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
	"netwatch/systemd"
)

// generatorDir is where the first directory lies that systemd gives its generators.
const generatorDir = "/run/systemd/generator"

// leftOut is a drop-in that leaves a flag out; the last of all drop-ins of a unit. It is
// made each time that systemd reads its units, of what these say then: one that stands
// would hide what an upgrade of an app has its unit run, and an upgrade starts that at
// once.
const leftOut = "zz-netwatch-without-flag.conf"

// maxUnit is the size of the largest file of a unit that is read.
const maxUnit = 1 << 20

// Generate makes the drop-ins of all marks below a directory, as a generator of systemd
// (systemd.generator(7)). It asks nobody, and reads root's files alone. What it cannot do
// leaves the flag where it is.
func Generate(dir string) error {
	marks, err := filepath.Glob(filepath.Join(unitsDir, "*.d", flagMark))
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
		return fmt.Errorf("leaving a flag out of %s: %w", f.unit, err)
	}
	if !f.found {
		return nil
	}
	file := filepath.Join(dir, f.unit+".d", leftOut)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // As systemd has them
		return err
	}
	return os.WriteFile(file, []byte(f.dropIn().Text), 0o644) //nolint:gosec // As systemd has them
}

// flagged is the flag of a unit with the mark that says so.
func flagged(unit, mark string) flag {
	f := flag{unit: unit}
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
	return File{filepath.Join(unitsDir, f.unit+".d", flagMark), fmt.Sprintf(
		"# Written by netwatch grant, which takes it away; see netwatch(8). By it netwatch-generator\n"+
			"# leaves an address out of the command of this unit whenever systemd reads that, so that the\n"+
			"# one in the file counts, which netwatch keeps right.\n[X-Netwatch]\nServer=%s\nFile=%s\n",
		f.target.Server, f.target.File)}
}

// dropIn is the drop-in that leaves the flag out.
func (f flag) dropIn() File {
	return File{filepath.Join(generatorDir, f.unit+".d", leftOut), fmt.Sprintf(
		"# Made by netwatch-generator of the unit's own command, less an address; see netwatch(8).\n"+
			"[Service]\nExecStart=\nExecStart=%s\n", f.without)}
}

// read finds the flag in the files of the unit. It is found only where the command names
// the file that is to count.
func (f *flag) read() error {
	server, err := servers.Named(f.target.Server)
	if err != nil || server.Flag == "" {
		return err
	}
	line, err := commandOf(systemd.UnitFiles(f.unit))
	if err != nil || !systemd.StartedWith(f.specified(line), f.target.File) {
		return err
	}
	f.without, f.address, f.found = withoutFlag(line, server.Flag)
	return netwatch.CheckPlain(f.without)
}

// specified is a command with the names of the unit in the place of its specifiers
// (systemd.unit(5)).
func (f *flag) specified(line string) string {
	stem := strings.TrimSuffix(f.unit, ".service")
	prefix, instance, _ := strings.Cut(stem, "@")
	return strings.NewReplacer("%%", "%", "%n", f.unit, "%N", stem, "%p", prefix, "%i", instance).Replace(line)
}

// commandOf is the one ExecStart= of a unit that these files make; empty if it has none,
// or several. Of what others than root could change nothing is taken: a pipe of theirs
// would hold up systemd, and a line is a command.
func commandOf(files []string) (string, error) {
	var commands []string
	for _, file := range files {
		if _, whole, err := access.ByRoot(file); err == nil && !whole {
			return "", fmt.Errorf("others than root decide what is in %s", file)
		}
		text, err := netwatch.ReadRegular(file, maxUnit)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, netwatch.ErrNotRegular) {
			continue // It is gone by now, or masked
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
