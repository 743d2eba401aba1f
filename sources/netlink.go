package sources

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
)

// A Netlink is the settings of a source that watches the kernel's addresses, links
// and the way out (rtnetlink(7)) and emits addr-changed, link-changed and
// route-changed.
type Netlink struct {
	// Interfaces are globs, as path.Match takes them: an interface is watched
	// when one of them fits its name.
	Interfaces []string `toml:"interfaces"`
	// Ignore are globs: an interface that one of them fits is not watched.
	Ignore []string `toml:"ignore"`
}

// newNetlink are the defaults. They leave out the interfaces of containers and
// virtual machines, which come and go while the network stays the same.
func newNetlink() Settings {
	return &Netlink{
		Interfaces: []string{"*"},
		Ignore:     []string{"lo", "docker*", "veth*", "br-*", "virbr*"},
	}
}

// Check lists what is wrong beyond the types of single values.
func (n *Netlink) Check() []Mistake {
	all := slices.Concat(checkGlobs("interfaces", n.Interfaces), checkGlobs("ignore", n.Ignore))
	if len(n.Interfaces) == 0 {
		all = append(all, Mistake{"interfaces", -1, "there is no interface to watch"})
	}
	return all
}

// checkGlobs finds globs that fit no name of an interface.
func checkGlobs(key string, globs []string) (all []Mistake) {
	for i, glob := range globs {
		if _, err := path.Match(glob, ""); err != nil {
			all = append(all, Mistake{key, i, fmt.Sprintf("%q is not a glob: *, ? and [a-z] stand for other letters", glob)})
		} else if glob == "" || strings.ContainsAny(glob, "/ \t\n") {
			all = append(all, Mistake{key, i, fmt.Sprintf("%q fits no name of an interface", glob)})
		}
	}
	return all
}

// Claims are the globs: two sources that have one in common would tell of everything
// twice.
func (n *Netlink) Claims() (key string, values []string) { return "interfaces", n.Interfaces }

// watches says whether an interface of this name is watched.
func (n *Netlink) watches(name string) bool { return fits(n.Interfaces, name) && !fits(n.Ignore, name) }

func fits(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, name)
		return ok && err == nil
	})
}

// Source makes the source.
func (n *Netlink) Source(name string, env Env) netwatch.Source {
	return &netlinkSource{name: name, env: env, open: env.kernel(n.watches)}
}

// A kernel tells that something about the network has changed, and how the network is
// now.
type kernel interface {
	// Wait returns nil when there is a reason to look. It returns an error when there
	// will never be another, as after Close.
	Wait() error
	// Read is the network now, with the ways to those who were asked before and to
	// those who are now. Whole says that nothing changed while it was read, as far
	// as the kernel could tell.
	Read(before, now []Asked) (is network, whole bool, err error)
	Close() error
}

// The times of a netlinkSource.
const (
	// gatherTime is how long to wait from a reason to look until the look, if another
	// look was just before or found something gone: the messages of one change are
	// some milliseconds apart, and a replaced address is one event. What only came,
	// after a time of quiet, is told at once.
	gatherTime = 20 * time.Millisecond
	// restFactor is how many times as long as its last look the source rests in a
	// storm of messages. To read a machine with thousands of addresses takes tens of
	// milliseconds, and no storm may cost more than a fifth of a processor.
	restFactor = 4
	// mostTorn is how many looks in a row may be thrown away because something changed
	// during them, so that they may be half of before and half of after. The next one
	// counts: a storm that does not end must not hide what it brings.
	mostTorn = 5
	// secondLook is how long after a look that had a reason another follows without
	// one. The kernel keeps silent about some changes, as when an IPv4 route goes with
	// the last address. All that were seen come within microseconds of a message about
	// something else, but nothing says that they always will.
	secondLook = time.Second
	// safetyLook is the time between further looks without a reason. They are for what
	// was never seen to happen, and six an hour are no load.
	safetyLook = 10 * time.Minute
)

// A netlinkSource compares the network with what it was when last looked at. That
// does not outlive the process: what changed while netwatch was away is looked for
// when it starts, by all sources and by rules on started.
type netlinkSource struct {
	name string
	env  Env
	open func() (kernel, error)
	// was is the network of which everything has been told; nil before the first look.
	// It outlives Run, so that the next Run finds what changed after an error.
	was *network
	// asked are those to whom its ways lead.
	asked []Asked
}

// String is the name in the configuration.
func (s *netlinkSource) String() string { return s.name }

// Run looks at once, whenever the kernel has something to say, and from time to time.
// It returns nil when ctx is done, and an error when the kernel cannot be listened to
// or asked. The very first look emits nothing: later ones are compared with it.
func (s *netlinkSource) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	k, err := s.open()
	if err != nil {
		return err
	}
	woken, deaf := make(chan struct{}, 1), make(chan error, 1)
	go func() { deaf <- listen(k, woken) }() // Ends when k is closed
	err = s.watch(ctx, k, woken, deaf, emit)
	return errors.Join(err, k.Close())
}

// listen turns each message into a reason to look, until k is closed.
func listen(k kernel, woken chan struct{}) error {
	for {
		if err := k.Wait(); err != nil {
			return err
		}
		wake(woken)
	}
}

// wake puts a reason to look into the channel, which has room for one.
func wake(woken chan struct{}) {
	select {
	case woken <- struct{}{}:
	default: // There is one already
	}
}

// watch looks until ctx is done or something fails.
func (s *netlinkSource) watch(
	ctx context.Context, k kernel, woken chan struct{}, deaf <-chan error, emit func(netwatch.Event) error,
) error {
	next, quiet := secondLook, false
	for unsure := 0; ; {
		began := time.Now()
		asked := s.env.Asked()
		if s.was == nil {
			s.asked = asked
		}
		is, whole, err := k.Read(s.asked, asked)
		if err != nil {
			return err
		}
		rest := max(gatherTime, restFactor*time.Since(began))
		ended, heard := time.Now(), true
		switch {
		case quiet && s.grows(is): // What is there is there, whatever else is under way
			heard = s.tell(is, asked, emit)
		case !quiet && whole && len(woken) == 0, unsure == mostTorn:
			unsure = 0
			heard = s.tell(is, asked, emit)
		default:
			unsure++
			wake(woken)
		}
		if !heard {
			next = secondLook
		}
		select {
		case <-woken:
			next = secondLook
		case <-time.After(next):
			next = safetyLook
		case err := <-deaf:
			return err
		case <-ctx.Done():
			return nil
		}
		if quiet = time.Since(ended) > rest; !quiet && !pause(ctx, rest) {
			return nil
		}
		drain(woken)
	}
}

// pause returns true after d, or false when ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// drain takes the reason out of the channel: the look to come serves it.
func drain(woken <-chan struct{}) {
	select {
	case <-woken:
	default:
	}
}

// grows says whether everything that was there still is, unchanged.
func (s *netlinkSource) grows(is network) bool {
	return s.was != nil && !slices.ContainsFunc(changes(*s.was, is, uses{}), func(c change) bool {
		return c.event == netwatch.LinkChanged && c.new == "down" || c.event != netwatch.LinkChanged && c.old != ""
	})
}

// tell emits how the network differs from what it was, and says whether all of
// that was accepted. If not, the next look compares with what was: who is told of
// a change twice looks twice.
func (s *netlinkSource) tell(is network, asked []Asked, emit func(netwatch.Event) error) (heard bool) {
	was := is // Of the first look
	if s.was != nil {
		was = *s.was
	}
	u := usesOf(was, is, sync.OnceValue(s.env.Bound))
	is.keepDeprecated(was)
	was = was.without(u)
	for _, c := range changes(was, is, u) {
		if emit(netwatch.NewEvent(c.event, s.name, c.fields())) != nil {
			return false
		}
	}
	is.markIdle(was, u)
	is.ways = is.next
	s.was, s.asked = &is, asked
	return true
}
