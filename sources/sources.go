// Package sources notices what the world does. Each kind of source is one file, and
// one line in the table Kinds. It knows neither rules nor actions.
package sources

import (
	"context"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"netwatch"
)

// An Env is what the daemon lends to sources.
type Env struct {
	// Known are the public addresses last believed and accepted.
	Known func() netwatch.Addresses
	// Confirm notes that servers said the known address of a family again, asked at that
	// time and by an address of this machine.
	Confirm func(family netwatch.Family, at time.Time, by []string, own netip.Addr)
	// Doubt notes that they do not say it now; heard is whether any of them answered.
	Doubt func(family netwatch.Family, heard bool)
	// Seen is the fingerprint of a file in the last event of that name that was
	// accepted, or what See noted since; empty when there is none.
	// An event with a file is accepted only while its field old is still that,
	// and its field new then takes the place. An event with a Sight leaves that there.
	Seen func(event, file string) string
	// Sights are all of those for events of that name, by what was seen.
	Sights func(event string) map[string]string
	// Wrote says whether it was netwatch alone who made a file go from one
	// content to another.
	Wrote func(netwatch.Replacement) bool
	// See notes a fingerprint without an event: how a file is found when it is
	// watched for the first time, or what netwatch made of it; or from when on a time
	// of a timer is waited for; or what another machine said. An empty one forgets it.
	See func(event, file, fingerprint string) error
	// Asked are whom the sources of now ask on the internet, in their order.
	Asked func() []Asked
	// Bound are the addresses of this machine that the files of the rules' rotate
	// steps name to listen at or to relay from, as far as they can be read now.
	Bound func() []netip.Addr
	// Reopen has root open a file again that may not be read, and returns how soon to
	// look at it anew; 0 is not before it changes.
	Reopen func(file string) time.Duration
	// Relays are those of them that the servers relay from: what their callers get is to
	// be the public address of these. It is an error if a file cannot be read now.
	Relays func() ([]netip.Addr, error)
	// Look has those sources look at once that find out our address, whatever they are
	// at, and returns when they have or when ctx is done.
	Look func(ctx context.Context)
	// Vouched is closed when no router says that address any more which can be relied
	// upon. It is nil if none says it now.
	Vouched func(address netip.Addr) <-chan struct{}
	// Outside looks at a place as a caller from elsewhere does. The error says why it
	// cannot be looked at from here; nothing was sent then.
	Outside func(ctx context.Context, p netwatch.Place) (netwatch.Seen, error)
	// Version is netwatch's own.
	Version string
	// Edges are where they touch the world.
	Edges
	// Log takes what an administrator should know and no event says.
	Log zerolog.Logger
}

// A Kind is a kind of source, by its name in the configuration.
type Kind struct {
	Name string
	// Settings are a new pointer to the kind's settings with the defaults
	// filled in; its toml tags are the keys of the configuration.
	Settings func() Settings
}

// Settings are the keys of one [source.NAME].
type Settings interface {
	// Check lists what is wrong beyond the types of single values, each with
	// the key it is about.
	Check() []Mistake
	// Source makes the source. name is the NAME of [source.NAME].
	Source(name string, env Env) netwatch.Source
}

// Claimed are settings of which two sources of one kind may not share a value:
// both would tell of the same thing, or contradict each other.
type Claimed interface {
	// Claims are the key and its values.
	Claims() (key string, values []string)
}

// Written are settings to which it matters which keys are written, and not only their
// values.
type Written interface {
	// Written is told the keys, before Check.
	Written(keys []string)
}

// SpokenFor are settings of a source that others speak for, over the control socket.
type SpokenFor interface {
	// Fires is the one event that it tells of.
	Fires() string
	// MayFire says whether the user with that id may fire it, also without
	// privileges.
	MayFire(uid uint32) bool
	// UIDs are the ids of all who may.
	UIDs() []uint32
}

// Needs are what a source must be able to do beside what everybody may.
type Needs struct {
	// Watches are files that it reads whenever they change.
	Watches []netwatch.Path
	// Reads are files that it reads now and then.
	Reads []netwatch.Path
	// Accepts are prefixes whose addresses it takes for public, so that others must
	// write them too.
	Accepts []netip.Prefix
}

// NeedsOf are what settings say that their source needs, by a method Needs. Most need
// nothing.
func NeedsOf(s Settings) Needs {
	if s, ok := s.(interface{ Needs() Needs }); ok {
		return s.Needs()
	}
	return Needs{}
}

// Probed are settings of a source that can be asked to look at once.
type Probed interface {
	// Prober makes the source, as Source does.
	Prober(name string, env Env) netwatch.Prober
}

// Telling are settings of a source that hands events on to other machines.
type Telling interface {
	// Tells is whom they are told through, for a person.
	Tells() string
	// Forgetting is how a person takes away what a machine said that is no more.
	Forgetting(host string) string
	// Looks says whether it looks at some of them from outside.
	Looks() bool
}

// Asking are settings of a source that asks servers for our public address.
type Asking interface {
	// Ask asks all of them at once, without the source, for each family. relays is as in
	// Env.
	Ask(ctx context.Context, relays func() ([]netip.Addr, error)) []Told
}

// Routed are settings of a source that asks a router.
type Routed interface {
	// AskRouter asks the router of the way to those who are asked, once and without the
	// source. The error says why it did not answer; where there is no router, it has no
	// gateway.
	AskRouter(ctx context.Context, asked []Asked) (netwatch.Router, error)
}

// AskedOf are those who answered, over the interface of their source.
func AskedOf(all []Told) (asked []Asked) {
	for _, told := range all {
		for _, a := range told.Answers {
			if a.Err == nil {
				asked = append(asked, Asked{a.Family, told.Interface, a.Asked.Addr(), a.Own})
			}
		}
	}
	return asked
}

// Told is what the servers of a source said for one family.
type Told struct {
	Family  netwatch.Family
	Answers []Answer
	// Interface is the one over which they were asked; empty is any.
	Interface string
	// Agree is how many had to say the same.
	Agree int
	// Address is what follows; with Err nothing does.
	Address netip.Addr
	Err     error
}

// Certified are settings of a source that watches certificates.
type Certified interface {
	// Certificates are all that it watches.
	Certificates() []Certificate
}

// Clocked are settings of a source that waits for times.
type Clocked interface {
	// Times are all of them, as they are in the field at of due.
	Times() []string
}

// A Certificate is the file of one and that of its key, which is empty if it is to be
// looked for.
type Certificate struct{ File, Key netwatch.Path }

// A Mistake is something wrong with a key's value.
type Mistake struct {
	// Key is the name of the key in its section.
	Key string
	// Index is the element of a list that is meant, or -1 for the whole value.
	Index int
	// Text says what is wrong.
	Text string
}

// Kinds is every kind of source.
var Kinds = []Kind{
	{"stun", newSTUN},
	{"router", newRouter},
	{"openvpn", newOpenVPN},
	{"netlink", newNetlink},
	{"cert", newCert},
	{"file", newFile},
	{"timer", newTimer},
	{"mqtt", newMQTT},
}
