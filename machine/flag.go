package machine

import (
	"path"

	"netwatch/systemd"
)

// A Flag is an option with our address in the command line of a unit, which goes before
// what the file of its server says, and the drop-in that leaves it out.
type Flag struct {
	systemd.Flag
	// Written says that the unit has it, as its files are without our drop-in; and InForce
	// that it is started with it all the same.
	Written, InForce bool
	// Marked says that netwatch grant has put its mark, and Stands is the text of the
	// drop-in that is made by it; nil if there is none.
	Marked bool
	Stands []byte
	// Later is a drop-in behind ours that has a command line of its own; empty if there is
	// none.
	Later string
}

// flag looks for an option of a unit. words are its command line.
func (s *search) flag(u unit, name string, words []string) (f Flag) {
	f.Name, f.Unit = name, u.Name
	f.InForce = len(options(words, name, name)) > 0
	_, err := s.tree.Read(f.Mark())
	f.Marked = err == nil
	f.Stands, _ = s.tree.Read(f.DropIn()) // What may not be read was not written by us
	texts, err := systemd.UnitTexts(u.Texts, s.tree.Read)
	if is, found := systemd.FindFlag(u.Name, name, texts...); err == nil && found {
		f.Flag, f.Written = is, true
	}
	for i, file := range u.Texts {
		text, _ := s.tree.Read(file)
		behind := i > 0 && path.Base(file) > systemd.FlagDropIn
		if behind && systemd.CommandLine(text) != "" {
			f.Later = file
		}
	}
	return f
}

// Wanted is what the drop-in is to say; empty where there is to be none.
func (f Flag) Wanted() string {
	if !f.Written {
		return ""
	}
	return f.Text()
}
