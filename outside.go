package netwatch

import (
	"net/netip"
	"slices"
)

// A Place is where callers are offered a server that lends relays, and who may ask there:
// what one machine has another look at from outside.
type Place struct {
	Address netip.Addr `json:"address"`
	Ways    []Way      `json:"ways"`
	// Name and Password are a credential that was made for this.
	Name     string `json:"name"`
	Password string `json:"password"`
}

// A Way is a transport (udp, tcp or tls) and a port.
type Way struct {
	Over string `json:"over"`
	Port uint16 `json:"port"`
}

// A Word is what another machine says of a way, or of data through a relay. It says nothing
// else.
type Word string

// The words.
const (
	WordOK      Word = "ok"
	WordWrong   Word = "wrong-address"
	WordRefused Word = "refused"
	WordSilent  Word = "silent"
	// WordBusy says that it has not looked.
	WordBusy Word = "busy"
)

// Words are all of them, the better ones first.
var Words = []Word{WordOK, WordWrong, WordRefused, WordSilent, WordBusy}

// A Seen is what a machine saw of a place: a word for each of its ways, and one for data
// through the relay.
type Seen struct {
	Ways  []Word `json:"ways"`
	Relay Word   `json:"relay"`
}

// All are all of its words.
func (s Seen) All() []Word { return append(slices.Clone(s.Ways), s.Relay) }

// A Sighting is what came of having other machines look.
type Sighting struct {
	// Seen is what they saw, and By who they are, for a person; empty if nobody looked.
	Seen Seen
	By   string
	// Why is why nobody did.
	Why error
}
