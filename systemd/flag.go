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

// FlagDropIn is what the drop-in is called that leaves an option out of the command line
// of a service; it is to be the last of all of its drop-ins.
const FlagDropIn = "zz-netwatch-flag.conf"

// UnitsDir is where an administrator's units lie, and drop-ins for all.
const UnitsDir = "/etc/systemd/system"

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
// texts (CommandLine). It is false if it is not there exactly once.
func FindFlag(unit, name string, texts ...[]byte) (f Flag, found bool) {
	line := CommandLine(texts...)
	is := regexp.MustCompile(`\s+` + regexp.QuoteMeta(name) + `(?:=|\s+)("[^"]*"|'[^']*'|\S+)`)
	all := is.FindAllStringSubmatchIndex(line, -1)
	if len(all) != 1 {
		return f, false
	}
	at := all[0]
	f = Flag{Unit: unit, Name: name, line: line[:at[0]] + line[at[1]:]}
	f.Address, _ = netip.ParseAddr(strings.Trim(line[at[2]:at[3]], `"'`))
	return f, netwatch.CheckPlain(f.line) == nil
}

// DropIn is the name of the drop-in that leaves it out.
func (f Flag) DropIn() string { return DropInOf(f.Unit) }

// DropInOf is the name of that for a unit, whether it has such an option or not.
func DropInOf(unit string) string { return path.Join(UnitsDir, unit+".d", FlagDropIn) }

// Text is what the drop-in has to say.
func (f Flag) Text() string {
	return fmt.Sprintf("# Written by netwatch grant, which writes it anew; see netwatch(8). Without %s the address\n"+
		"# in the file counts, which netwatch keeps right.\n[Service]\nExecStart=\nExecStart=%s\n", f.Name, f.line)
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
