package netwatch

import (
	"fmt"
	"slices"
	"strings"
)

// The names of the events that code of ours speaks of.
const (
	Started       = "started"
	IPChanged     = "ip-changed"
	RouterChanged = "router-changed"
	AddrChanged   = "addr-changed"
	LinkChanged   = "link-changed"
	RouteChanged  = "route-changed"
	VPNChanged    = "vpn-changed"
	CertRenewed   = "cert-renewed"
	FileChanged   = "file-changed"
	Due           = "due"
	PeerChanged   = "peer-changed"
	PeerLost      = "peer-lost"
	PeerBack      = "peer-back"
)

// Events is every event that netwatch itself knows. One more line is one more
// event: whatever else must know of it reads it here. A rule may name others,
// which then can be fired.
var Events = []EventKind{
	// The daemon is ready.
	{Name: Started},
	// The public address is another than the last one acted on. Fired by hand it
	// means "look again and act".
	{Name: IPChanged, Fields: []string{"family", "old", "new", "by"}, About: AboutAddress},
	// The router says another address than before, or has restarted: a reason to look.
	{Name: RouterChanged, Fields: []string{"gateway", "old", "new"}, Leads: ByRouter},
	// An address came or went; use is `callers` where they can have to do with it.
	{Name: AddrChanged, Fields: []string{"interface", "family", "old", "new", "use"}, Leads: ByKernel},
	// A link went up or down.
	{Name: LinkChanged, Fields: []string{"interface", "old", "new"}, Leads: ByKernel},
	// The way that packets to the internet take is another.
	{Name: RouteChanged, Fields: []string{"family", "interface", "gateway", "old", "new"}, Leads: ByKernel},
	// A script hook of OpenVPN ran. The addresses are the peer's, never ours.
	{Name: VPNChanged, Fields: []string{"interface", "script", "old", "new"}, Leads: ByFire},
	// A certificate file holds another leaf certificate, and its key matches.
	{Name: CertRenewed, Fields: []string{"file", "names", "not-after", "old", "new"}, About: AboutFile, Leads: ByFile},
	// A watched file has another content, and it was not netwatch who wrote it.
	{Name: FileChanged, Fields: []string{"file", "old", "new"}, About: AboutFile, Leads: ByFile},
	// A time of a timer has come; at is its own text in the configuration.
	{Name: Due, Fields: []string{"at"}},
	// Another machine has another address (told is then ip-changed), or handed on an event
	// of that name. What it says is never an address of ours.
	{Name: PeerChanged, Fields: []string{"peer", "told", "family", "old", "new"}, Leads: ByPeer},
	// Another machine is gone, and there again.
	{Name: PeerLost, Fields: []string{"peer"}, Leads: ByPeer},
	{Name: PeerBack, Fields: []string{"peer"}, Leads: ByPeer},
}

// An EventKind is what netwatch knows of all events with one name.
type EventKind struct {
	Name string
	// Fields are the names of all fields that such an event can have.
	Fields []string
	// About says what the fields old and new are values of.
	About About
	// Leads says by what a change of our address is noticed (BySTUN and so on) that is
	// found out because of such an event; empty if none would be.
	Leads string
}

// About says what an event is about, if that is something whose last value the state
// remembers.
type About int

// What an event can be about.
const (
	// AboutNothing is everything that the state does not remember.
	AboutNothing About = iota
	// AboutAddress is our public address: new is the one to believe.
	AboutAddress
	// AboutFile is the file of the field file: old and new are Fingerprints of it.
	AboutFile
)

// KnownEvent finds the kind of an event by its name. Names that users make up are not
// known.
func KnownEvent(name string) (EventKind, bool) {
	i := slices.IndexFunc(Events, func(k EventKind) bool { return k.Name == name })
	if i < 0 {
		return EventKind{}, false
	}
	return Events[i], true
}

// EventNames are the names of Events, in their order.
func EventNames() []string {
	names := make([]string, len(Events))
	for i, k := range Events {
		names[i] = k.Name
	}
	return names
}

// EventName is what the name of an event looks like: what a user makes up can be told to
// other machines, which take no longer ones.
var EventName = Pattern(`^[a-z][a-z0-9-]{0,127}$`)

// FieldNames are the names of the fields of all Events, sorted, each once.
func FieldNames() []string {
	var all []string
	for _, k := range Events {
		all = append(all, k.Fields...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// taken are names that no field of an event may have, because they stand for
// something else in the environment of programs, in notices or in reports.
var taken = []string{
	"id", "event", "source", "time", "rule", "outcome", "step", "error", "host", "ipv4", "ipv6", "config",
}

// CheckField says why no event may have a field of that name, or returns nil.
func CheckField(name string) error {
	if slices.Contains(taken, strings.ToLower(name)) {
		return fmt.Errorf("`%s` cannot be a field of an event: the name stands for something else", name)
	}
	return nil
}

var variablePattern = Pattern(`^[A-Za-z0-9_-]+$`)

// Variable is the name of the environment variable in which a program gets a field,
// as NETWATCH_OLD for old. It is empty if no variable can have that name.
func Variable(name string) string {
	if !variablePattern().MatchString(name) {
		return ""
	}
	return "NETWATCH_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
