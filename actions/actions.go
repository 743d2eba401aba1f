// Package actions does what the steps of rules say. Each verb is one file, and one
// line in the table Verbs. It knows neither rules nor sources.
package actions

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"time"

	"netwatch"
	"netwatch/systemd"
	"netwatch/turn"
)

// An Env is what the daemon lends to actions.
type Env struct {
	// Probe has the named source look at once, or, if name is empty, all sources that
	// can. Followed says that steps follow which act on what it finds.
	Probe func(ctx context.Context, name string, followed bool) netwatch.Result
	// Tell hands events on to other machines by the named source, or, if name is empty, by
	// all sources that can.
	Tell func(ctx context.Context, name string, events []netwatch.Event) netwatch.Result
	// Outside has other machines look at a place from outside, by the named source, or, if
	// name is empty, by any that can.
	Outside func(ctx context.Context, name string, p netwatch.Place) netwatch.Sighting
	// Units are those that any rule does something to.
	Units func() []string
	// Starts remembers when units were started, across restarts of netwatch.
	Starts systemd.Starts
	// Files rewrites the files that this process may not; nil if it does so itself.
	Files Helper
	// Reopen has root open a file again that may not be read, and returns how soon to
	// look at it anew; 0 is not before it changes.
	Reopen func(file string) time.Duration
	// AnyField says that the rule is on an event that a user made up, which may have
	// fields of any name.
	AnyField bool
	// SMTP is the mail server, as HOST:PORT.
	SMTP string
	// Config is the file that the step stands in.
	Config string
	// Machine is where the steps are done.
	Machine
}

// A Machine is what steps find beside files. What is nil is this machine's.
type Machine struct {
	// Bus is the way to its systemd.
	Bus *systemd.Bus
	// Here are the addresses of its interfaces, and Own is its own, as netwatch.OwnAddress.
	Here func() []netip.Addr
	Own  func(family netwatch.Family, public netip.Addr) netip.Addr
	// Allocate asks a TURN server, as turn.Allocate does.
	Allocate func(ctx context.Context, a turn.Ask) (netip.Addr, *x509.Certificate, error)
	// Run runs a program with an environment until it ends, or ctx does, and returns the last
	// lines of its output.
	Run func(ctx context.Context, program string, args, env []string) ([]string, error)
	// Web is the way to servers of HTTP, and Mail connects to a mail server.
	Web  http.RoundTripper
	Mail func(ctx context.Context, server string) (net.Conn, error)
	// Host is its full name; empty is to be looked up.
	Host string
}

// here are the addresses of the machine's interfaces.
func (m Machine) here() []netip.Addr {
	if m.Here != nil {
		return m.Here()
	}
	return netwatch.OwnAddresses()
}

// own is how the machine's own address is found.
func (m Machine) own() func(family netwatch.Family, public netip.Addr) netip.Addr {
	if m.Own != nil {
		return m.Own
	}
	return netwatch.OwnAddress
}

// allocate asks a TURN server for a relayed transport address.
func (m Machine) allocate(ctx context.Context, a turn.Ask) (netip.Addr, *x509.Certificate, error) {
	if m.Allocate != nil {
		return m.Allocate(ctx, a)
	}
	return turn.Allocate(ctx, a)
}

// A Verb is the first word of a step.
type Verb struct {
	Name string
	// Usage is what follows the name, as in the manual page.
	Usage string
	// New makes the step from the words after the verb, without touching the
	// system. An error says what is wrong with the words.
	New func(env Env, verb string, words []string) (netwatch.Step, error)
}

// Verbs is every verb.
var Verbs = []Verb{
	{"restart", restartUsage, newRestart},
	{"try-restart", unitUsage, newUnit},
	{"reload", unitUsage, newUnit},
	{"reload-or-restart", unitUsage, newUnit},
	{"start", unitUsage, newUnit},
	{"stop", unitUsage, newUnit},
	{"signal", signalUsage, newSignal},
	{"exec", execUsage, newExec},
	{"probe", probeUsage, newProbe},
	{"rotate", rotateUsage, newRotate},
	{"verify", verifyUsage, newVerify},
	{"http", httpUsage, newHTTP},
	{"mail", mailUsage, newMail},
	{"tell", tellUsage, newTell},
}
