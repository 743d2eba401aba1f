// Package servers knows the servers whose configuration holds our address: how it
// is written there, what the server tells its callers because of it, and how to ask
// for that. Each is one line in the table All and one file. It talks to nobody.
package servers

import (
	"errors"
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
	// Options are what may follow the file in a rotate step, in that order.
	Options []Option
	// Rewrite returns conf with our addresses in it; every other byte stays. If
	// nothing is to change, it returns conf itself. word says what stayed as it is
	// although an address is known, and why.
	Rewrite func(conf []byte, w Wanted) (text []byte, word string, err error)
	// Key is what stands before an address in its configuration, for a person; empty
	// where the step says that.
	Key string
	// Advertised are the addresses that callers get once the server is started with
	// conf, at most one of each family. It leaves out what only the server can tell.
	Advertised func(conf []byte, o Options) []netip.Addr
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
	// Words are what is said of that which it offers, and is not right.
	Words Words
	// Calls are what conf offers to those who call by WebRTC; nil where nobody can ask for
	// that. keys is the text of a file with its keys, nil where conf has them.
	Calls func(conf, keys []byte) (*Calls, error)
	// Blind says what the server does when it cannot read its file, as "it would …".
	Blind string
	// Named is how the server is told its file, as in "turnserver -c FILE".
	Named string
	// Versioned says whether it is the version of the program that decides what conf may
	// say (Wanted.Version); nil if it never is.
	Versioned func(conf []byte) bool
	// Placed says whether what conf is to say depends on whether the server has the network
	// of this machine, with these addresses (Wanted.Elsewhere); nil if it never does.
	Placed func(conf []byte, here []netip.Addr) bool
	// Flag is an option of its command line that says our address too, and may go before
	// what its file says.
	Flag string
	// Start is how units start it; without programs nobody looks for it.
	Start Start
	// Follow is the verb by which its unit heeds a file that was rewritten, and Drain how
	// long its callers may go on then; empty leaves that to the unit.
	Follow, Drain string
	// Loses says that a reload may close a port whose address has changed and be too quick
	// to open it again; another reload opens it.
	Loses bool
	// Binds says that it listens at the addresses that its machine has when it starts, and
	// at no later ones.
	Binds bool
	// Itself says whether it asks others for its address, with conf, when it starts; nil
	// where it never does.
	Itself func(conf []byte) bool
	// Ports are those that its callers come in by, with conf, for a person.
	Ports func(conf []byte) []string
	// Certificate is the one that it serves with conf, and reads when it starts, with its
	// key; nil where that is not known.
	Certificate func(conf []byte) (file, key string)
}

// All is every server that netwatch knows.
var All = []Server{coturn, livekit, eturnal, ejabberd, janus, rtpengine, yamlFile, iniFile, envFile}

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
		all[i] = s.Name + " FILE" + s.Usage()
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
	// Version is that of the server's program; the zero value where it is not known.
	Version Version
	// Elsewhere says that the server may have another network than this machine's, as in a
	// container.
	Elsewhere bool
	Options
}

// A Version is that of a program.
type Version struct{ Major, Minor int }

// AtLeast says whether it is known, and this one or a newer one.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// check refuses addresses that no server can be told.
func (w Wanted) check() error {
	for family, a := range w.Public {
		if !writable(a.Address) || netwatch.FamilyOf(a.Address) != family {
			return fmt.Errorf("%s is no %s address that a file can hold", a.Address, family)
		}
	}
	if len(w.Public) == 0 {
		return errors.New("there is no public address to write")
	}
	return nil
}

// to is the address that a family is to have; invalid leaves it as it is.
func (w Wanted) to(family netwatch.Family) netip.Addr {
	if f := w.families(); f != (Families{}) && !f.has(family) {
		return netip.Addr{}
	}
	return w.Public[family].Address
}

// here says whether an address is one of this machine's.
func (w Wanted) here(a netip.Addr) bool { return slices.Contains(w.Here, a) }

// lacks says whether a family is to be written into a file that does not have it: IPv4
// into one that names no address, unless this machine has that itself or nobody comes in
// by it, and what the step asks for by name.
func (w Wanted) lacks(family netwatch.Family, names bool) bool {
	to := w.to(family)
	first := !names && family == netwatch.IPv4 && !w.here(to) && w.foreign(names) == ""
	return to.IsValid() && (first || names && w.families().has(family))
}

// foreign says why a file that names no address gets none: nobody comes in by that of a
// translator.
func (w Wanted) foreign(names bool) (word string) {
	to := w.to(netwatch.IPv4)
	if names || !to.IsValid() || !netwatch.Translated.Contains(w.Public[netwatch.IPv4].Own) {
		return ""
	}
	return fmt.Sprintf("%s is not added: it is a translator's of the provider (464XLAT), and nobody comes in by it", to)
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

// A Rotation is a file of a server and the addresses that it is to say.
type Rotation struct {
	Target
	// Public, Here, Version and Elsewhere are as in Wanted.
	Public    netwatch.Addresses
	Here      []netip.Addr
	Version   Version
	Elsewhere bool
	// Readers are the users of the server: they have to be able to read the file.
	Readers []access.Reader
}

// To is the rotation to these addresses, on a machine that has those.
func (t Target) To(public netwatch.Addresses, here []netip.Addr) Rotation {
	return Rotation{Target: t, Public: public, Here: here}
}
