package systemd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"strings"

	"netwatch"
)

// What leaves an option out of the command line of a service: a mark among its drop-ins,
// and the drop-in that is made by it, the last of all, each time that systemd reads its
// units, of what these say then. One that stands would hide what an upgrade of an app has
// its unit run, and an upgrade starts that at once.
const (
	FlagMark   = "zz-netwatch-flag.conf"
	FlagDropIn = "zz-netwatch-without-flag.conf"
)

// UnitsDir is where an administrator's units lie, and drop-ins for all; and generatorDir
// where the first directory lies that systemd gives its generators.
const (
	UnitsDir     = "/etc/systemd/system"
	generatorDir = "/run/systemd/generator"
)

// A Flag is an option with an address in the command line of a service, which goes before
// what the file of its server says.
type Flag struct {
	// Unit is the service, and Name the option.
	Unit, Name string
	// Address is what it says, if that is one: else it is a variable's.
	Address netip.Addr
	// line is the command line without it.
	line string
}

// FindFlag finds an option in the one command line of a service that is written in these
// texts (CommandLine). It is false if it is not there exactly once, or not for certain whole.
func FindFlag(unit, name string, texts ...[]byte) (f Flag, found bool) {
	f = Flag{Unit: unit, Name: name}
	line, value, found := withoutFlag(CommandLine(texts...), name)
	f.line = line
	f.Address, _ = netip.ParseAddr(strings.Trim(value, quotes))
	return f, found && wholeValue().MatchString(value) && netwatch.CheckPlain(line) == nil
}

// quotes are what a value may stand in.
const quotes = `"'`

// wholeValue is a value that ends where it seems to. In a shell's line it may end later, as
// $(hostname -I) does, or before a quote: the service would not start without it.
var wholeValue = netwatch.Pattern(`^(?:"[\w.:%${}][\w.:%${}-]*"|'[\w.:%${}][\w.:%${}-]*'|[\w.:%${}][\w.:%${}-]*)$`)

// withoutFlag is a command line without an option and its value, and that value. It is
// false if the option is not there exactly once.
func withoutFlag(line, name string) (without, value string, found bool) {
	is := regexp.MustCompile(`\s+` + regexp.QuoteMeta(name) + `(?:=|\s+)("[^"]*"|'[^']*'|\S+)`)
	all := is.FindAllStringSubmatchIndex(line, -1)
	if len(all) != 1 {
		return line, "", false
	}
	at := all[0]
	return line[:at[0]] + line[at[1]:], line[at[2]:at[3]], true
}

// In says whether what systemd starts the service with, as Show has it, has the
// option.
func (f Flag) In(execStart string) bool {
	_, _, is := withoutFlag(execStart, f.Name)
	return is
}

// Mark is the name of the mark.
func (f Flag) Mark() string { return path.Join(UnitsDir, f.Unit+".d", FlagMark) }

// DropIn is the name of the drop-in that leaves it out.
func (f Flag) DropIn() string { return path.Join(generatorDir, f.Unit+".d", FlagDropIn) }

// Text is what the drop-in has to say.
func (f Flag) Text() string {
	return fmt.Sprintf("# Made by netwatch-generator of the unit's own command, less an address; see netwatch(8).\n"+
		"[Service]\nExecStart=\nExecStart=%s\n", f.line)
}

// UnitTexts are the texts of the files that a unit is made of, less our own drop-in. One
// that is gone since systemd has read it is none.
func UnitTexts(files []string, read func(file string) ([]byte, error)) (texts [][]byte, err error) {
	for _, file := range files {
		if file == "" || path.Base(file) == FlagDropIn {
			continue
		}
		text, err := read(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}
