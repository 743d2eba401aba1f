package netwatch_test

import (
	"slices"
	"strings"
	"testing"

	"netwatch"
)

// The table of events is what rules, programs and notices read: names that can be
// written there, each once, and all that an event's subject needs.
func TestEvents(t *testing.T) {
	name, names := netwatch.EventName, netwatch.EventNames()
	for i, kind := range netwatch.Events {
		if !name().MatchString(kind.Name) || slices.Contains(names[:i], kind.Name) {
			t.Errorf("%q cannot name an event, or does already", kind.Name)
		}
		for j, field := range kind.Fields {
			if !name().MatchString(field) || slices.Contains(kind.Fields[:j], field) {
				t.Errorf("%s: %q cannot name a field, or does already", kind.Name, field)
			}
			if err := netwatch.CheckField(field); err != nil {
				t.Errorf("%s: %v", kind.Name, err)
			}
		}
		needs := map[netwatch.About][]string{
			netwatch.AboutAddress: {"family", "old", "new"}, netwatch.AboutFile: {"file", "old", "new"},
		}
		for _, field := range needs[kind.About] {
			if !slices.Contains(kind.Fields, field) {
				t.Errorf("%s is about something by its field %s, and has none", kind.Name, field)
			}
		}
	}
	if len(netwatch.Events) == 0 || len(netwatch.FieldNames()) == 0 {
		t.Error("there are no events, or no fields")
	}
}

// What an event is about is what its line says; nothing, where there is no line.
func TestAbout(t *testing.T) {
	for name, want := range map[string]netwatch.About{
		netwatch.IPChanged:   netwatch.AboutAddress,
		netwatch.FileChanged: netwatch.AboutFile, netwatch.CertRenewed: netwatch.AboutFile,
		netwatch.AddrChanged: netwatch.AboutNothing, "mine": netwatch.AboutNothing,
	} {
		if got := (netwatch.Event{Name: name}).About(); got != want {
			t.Errorf("%s is about %d, not %d", name, got, want)
		}
	}
}

// No field stands in the way of what programs, notices and reports are told beside
// it, in whatever letters: they would be one variable.
func TestCheckField(t *testing.T) {
	for _, field := range strings.Fields("id event source time rule outcome step error host ipv4 ipv6 config ID Config") {
		if netwatch.CheckField(field) == nil {
			t.Errorf("an event may have a field %s", field)
		}
	}
	for _, field := range append(netwatch.FieldNames(), "colour", "source-of", "ids") {
		if err := netwatch.CheckField(field); err != nil {
			t.Error(err)
		}
	}
}

// A variable is one that a shell can read.
func TestVariable(t *testing.T) {
	for name, want := range map[string]string{
		"old": "NETWATCH_OLD", "not-after": "NETWATCH_NOT_AFTER", "A_b9": "NETWATCH_A_B9", "9": "NETWATCH_9",
		"": "", "a b": "", "a=b": "", "ıd": "", "a\n": "", "é": "", "x.y": "",
	} {
		if got := netwatch.Variable(name); got != want {
			t.Errorf("%q is %q, not %q", name, got, want)
		}
	}
}

// What other machines say is no address of ours, whatever it is: nothing that writes one
// heeds an event that is not about ours.
func TestPeerEventsAreNoAddress(t *testing.T) {
	for _, name := range []string{netwatch.PeerChanged, netwatch.PeerLost, netwatch.PeerBack} {
		kind, known := netwatch.KnownEvent(name)
		if !known || kind.About != netwatch.AboutNothing || kind.Leads != netwatch.ByPeer {
			t.Errorf("%s: %+v", name, kind)
		}
	}
}
