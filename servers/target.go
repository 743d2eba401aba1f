package servers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"netwatch"
	"netwatch/rewrite"
)

// Options are what follows the file in a rotate step, by their names.
type Options map[string]string

// An Option is a word that may follow the file in a rotate step, as NAME=VALUE.
type Option struct {
	Name string
	// Usage is what VALUE can be, as in the manual page.
	Usage string
	// Bare says that it is VALUE alone, right behind the file, and must be there.
	Bare bool
	// Check says what is wrong with a value.
	Check func(value string) error
}

// String is the option as in the manual page.
func (o Option) String() string {
	if o.Bare {
		return o.Usage
	}
	return "[" + o.Name + "=" + o.Usage + "]"
}

// Usage is what may follow the file in a rotate step, each word with a blank before it.
func (s Server) Usage() string {
	var text strings.Builder
	for _, o := range s.Options {
		text.WriteString(" " + o.String())
	}
	return text.String()
}

// A Target is the file of a server, and how our address is to stand in it: what a
// rotate step says.
type Target struct {
	Server string `json:"server"`
	// File may be a symlink; what it leads to is rewritten.
	File    string  `json:"file"`
	Options Options `json:"options,omitempty"`
}

// Equal says whether two steps say the same.
func (t Target) Equal(o Target) bool {
	return t.Server == o.Server && t.File == o.File && maps.Equal(t.Options, o.Options)
}

// Check says why it cannot be what a step says.
func (t Target) Check() error {
	server, err := Named(t.Server)
	if err != nil {
		return err
	}
	given := 0
	for _, o := range server.Options {
		value, there := t.Options[o.Name]
		if !there && o.Bare {
			return fmt.Errorf("%s is missing", o.Usage)
		}
		if !there {
			continue
		}
		given++
		if err := o.Check(value); err != nil {
			return err
		}
	}
	if given < len(t.Options) {
		return fmt.Errorf("%s has no such options", t.Server)
	}
	return nil
}

// Key is what stands before the address in the file, for a person.
func (t Target) Key() string {
	if server, err := Named(t.Server); err == nil && server.Key != "" {
		return server.Key
	}
	return t.Options[keyOption]
}

// ParseTarget reads `SERVER FILE [option=value...]`.
func ParseTarget(words []string) (Target, error) {
	if len(words) == 0 {
		return Target{}, fmt.Errorf("what to rotate is missing, it can be %s", Names())
	}
	server, err := Named(words[0])
	if err != nil {
		return Target{}, fmt.Errorf("%q cannot be rotated, only %s", words[0], Names())
	}
	if len(words) == 1 || server.option(words[1]) != nil {
		return Target{}, fmt.Errorf("the file of %s is missing", server.Name)
	}
	file, err := netwatch.ParsePath(words[1])
	if err != nil {
		return Target{}, err
	}
	t := Target{Server: server.Name, File: string(file)}
	t.Options, err = server.options(words[2:])
	return t, err
}

// option is the one of the server's that a word is, or nil.
func (s Server) option(word string) *Option {
	name, _, ok := strings.Cut(word, "=")
	i := slices.IndexFunc(s.Options, func(o Option) bool { return ok && !o.Bare && o.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Options[i]
}

// options reads what follows the file.
func (s Server) options(words []string) (Options, error) {
	given := Options{}
	for _, o := range s.Options {
		if !o.Bare {
			continue
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("%s is missing", o.Usage)
		}
		if err := o.Check(words[0]); err != nil {
			return nil, err
		}
		given[o.Name], words = words[0], words[1:]
	}
	for _, word := range words {
		o := s.option(word)
		if o == nil {
			return nil, fmt.Errorf("%q is not understood after the file", word)
		}
		if _, twice := given[o.Name]; twice {
			return nil, fmt.Errorf("%q is one option too many", word)
		}
		given[o.Name] = word[len(o.Name)+1:]
		if err := o.Check(given[o.Name]); err != nil {
			return nil, err
		}
	}
	return given, nil
}

// familiesOption says whose address is written.
var familiesOption = Option{Name: "families", Usage: "ipv4|ipv6|ipv4,ipv6", Check: func(value string) error {
	return new(Families).UnmarshalText([]byte(value))
}}

// families are those of the option; none where it is not given.
func (o Options) families() (f Families) {
	_ = f.UnmarshalText([]byte(o[familiesOption.Name])) // Which was checked
	return f
}

// Names says whether the file names an address.
func (t Target) Names() (bool, error) {
	server, err := Named(t.Server)
	if err != nil {
		return false, err
	}
	f, err := rewrite.Open(t.File)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return len(server.Advertised(f.Text, t.Options)) > 0, nil
}

// Itself says whether the file has the server find its address out for itself, as far as
// the file can be read.
func (t Target) Itself() bool {
	server, err := Named(t.Server)
	if err != nil || server.Itself == nil {
		return false
	}
	f, err := rewrite.Open(t.File)
	if err != nil {
		return false
	}
	defer f.Close()
	return server.Itself(f.Text)
}
