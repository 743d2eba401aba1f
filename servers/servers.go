// Package servers knows the servers whose configuration holds our address: how it
// is written there, what the server tells its callers because of it, and how to ask
// for that. Each is one line in the table All and one file. It talks to nobody.
package servers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/access"
)

// A Server is a program whose configuration holds our address.
type Server struct {
	// Name is what steps call it.
	Name string
	// Usage is what may follow the file in a rotate step, as in the manual page.
	Usage string
	// Options are the names of the options in Usage.
	Options []string
	// Default is what the options are where a step does not give them.
	Default Options
	// Rewrite returns conf with our addresses in it; every other byte stays. If
	// nothing is to change, it returns conf itself. word says what stayed as it is
	// although an address is known, and why.
	Rewrite func(conf []byte, w Wanted) (text []byte, word string, err error)
	// Key is what stands before an address in its configuration, for a person.
	Key string
	// Advertised are the addresses that callers get once the server is started with
	// conf, at most one of each family. It leaves out what only the server can tell.
	Advertised func(conf []byte) []netip.Addr
	// Unheeded are the addresses that conf names and the server does not heed; nil where
	// it heeds all.
	Unheeded func(conf []byte) []netip.Addr
	// Bound are the addresses of its machine that conf names to listen at or to relay
	// from; nil if it never names any.
	Bound func(conf []byte) []netip.Addr
	// Relays are those of Bound that it relays from, and an unspecified one for any; nil
	// if it never names any.
	Relays func(conf []byte) []netip.Addr
	// Offer is what conf offers to callers at this time, and how they are to ask; nil
	// where nobody can ask for that.
	Offer func(conf []byte, now time.Time) (*Offer, error)
	// Blind says what the server does when it cannot read its file, as "it would …".
	Blind string
	// Named is how the server is told its file, as in "turnserver -c FILE".
	Named string
}

// All is every server that netwatch knows.
var All = []Server{coturn}

// Named finds the server of that name.
func Named(name string) (Server, error) {
	i := slices.IndexFunc(All, func(s Server) bool { return s.Name == name })
	if i < 0 {
		return Server{}, fmt.Errorf("%q is no server that netwatch knows; there is %s", name, Names())
	}
	return All[i], nil
}

// Names are the names of all servers, for a person.
func Names() string {
	names := make([]string, len(All))
	for i, s := range All {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}

// Usage is what may follow the verb of a rotate step.
func Usage() string {
	all := make([]string, len(All))
	for i, s := range All {
		all[i] = s.Name + " FILE " + s.Usage
	}
	return strings.Join(all, " | ")
}

// Wanted is what a configuration is to say.
type Wanted struct {
	// Public are the addresses to write. A family that is absent could not be found
	// out, and stays as the file has it.
	Public netwatch.Addresses
	// Here are the addresses of this machine.
	Here []netip.Addr
	Options
}

// Options are the words that may follow the file in a rotate step.
type Options struct {
	Private  Private  `json:"private,omitempty"`
	Families Families `json:"families,omitzero"`
}

// Families are those whose address is written; none of them stands for those that the
// file has.
type Families struct{ IPv4, IPv6 bool }

// has says whether a family is named.
func (f Families) has(family netwatch.Family) bool {
	return family == netwatch.IPv4 && f.IPv4 || family == netwatch.IPv6 && f.IPv6
}

// MarshalText gives what UnmarshalText takes.
func (f Families) MarshalText() ([]byte, error) {
	var names []string
	for _, family := range netwatch.Families {
		if f.has(family) {
			names = append(names, string(family))
		}
	}
	return []byte(strings.Join(names, ",")), nil
}

// UnmarshalText takes "ipv4", "ipv6" or both with a comma between.
func (f *Families) UnmarshalText(text []byte) error {
	for name := range strings.SplitSeq(string(text), ",") {
		var family netwatch.Family
		if err := family.UnmarshalText([]byte(name)); err != nil || f.has(family) {
			return fmt.Errorf("families=%s is not understood: ipv4, ipv6 or ipv4,ipv6", text)
		}
		f.IPv4, f.IPv6 = f.IPv4 || family == netwatch.IPv4, f.IPv6 || family == netwatch.IPv6
	}
	return nil
}

// set sets an option by its name, as private=keep.
func (o *Options) set(name, value string) error {
	switch name {
	case "private":
		return o.Private.UnmarshalText([]byte(value))
	case "families":
		return o.Families.UnmarshalText([]byte(value))
	}
	return fmt.Errorf("there is no option %s", name)
}

// A Target is the file of a server, and how our address is to stand in it: what a
// rotate step says.
type Target struct {
	Server string `json:"server"`
	// File may be a symlink; what it leads to is rewritten.
	File string `json:"file"`
	Options
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
	if len(words) == 1 || server.takes(words[1]) {
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

// takes says whether a word is one of the server's options.
func (s Server) takes(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && slices.Contains(s.Options, name)
}

// options reads `option=value...`.
func (s Server) options(words []string) (Options, error) {
	o := s.Default
	given := map[string]bool{}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case !s.takes(word):
			return o, fmt.Errorf("%q is not understood after the file", word)
		case given[name]:
			return o, fmt.Errorf("%q is one option too many", word)
		}
		given[name] = true
		if err := o.set(name, value); err != nil {
			return o, err
		}
	}
	return o, nil
}

// A Rotation is a file of a server and the addresses that it is to say.
type Rotation struct {
	Target
	// Public and Here are as in Wanted.
	Public netwatch.Addresses
	Here   []netip.Addr
	// Readers are the users of the server: they have to be able to read the file.
	Readers []access.Reader
}

// To is the rotation to these addresses, on a machine that has those.
func (t Target) To(public netwatch.Addresses, here []netip.Addr) Rotation {
	return Rotation{Target: t, Public: public, Here: here}
}
