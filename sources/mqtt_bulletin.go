package sources

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// The bounds of what a machine says.
const (
	// maxBulletin is how many bytes it may have.
	maxBulletin = 16 << 10
	// maxText is how many bytes of each text in it are taken.
	maxText = 256
	// maxHanded is how many events it may hold, and maxServers how many names of servers.
	maxHanded  = 16
	maxServers = 8
	// ours is how many bytes may come to it in the state.
	ours = 1 << 10
	// maxNumber is the largest number that JSON means the same by everywhere.
	maxNumber = 1 << 53
)

// A bulletin is what a machine says of itself: its retained message.
type bulletin struct {
	// Number only grows: of two the one with the larger is the newer.
	Number int64 `json:"number"`
	// Connect is the number with which the connection began over which it is said.
	Connect int64 `json:"connect"`
	// Lost says that the machine is gone, as its last will does.
	Lost bool `json:"lost,omitempty"`
	// Version is that of its netwatch.
	Version string `json:"version,omitempty"`
	// Addresses are its public addresses.
	Addresses netwatch.Addresses `json:"addresses,omitempty"`
	// Told are the newest events of each name that it hands on.
	Told []handed `json:"told,omitempty"`
	// Serves are the machines that it looks at from outside.
	Serves []string `json:"serves,omitempty"`
	// Stood is since when we have heard its addresses. It is in our state alone.
	Stood standing `json:"stood,omitempty"`
	// Gone is since when we know that it is gone. It is ours, and said by nobody.
	Gone time.Time `json:"gone,omitzero"`
}

// A handed is an event that a machine hands on.
type handed struct {
	// Number is that of the bulletin which first had it.
	Number int64     `json:"number"`
	ID     string    `json:"id"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
	Family string    `json:"family,omitempty"`
	Old    string    `json:"old,omitempty"`
	New    string    `json:"new,omitempty"`
}

// told is the newest event of a name; the zero value if there is none.
func (w bulletin) told(event string) handed {
	i := slices.IndexFunc(w.Told, func(h handed) bool { return h.Event == event })
	if i < 0 {
		return handed{}
	}
	return w.Told[i]
}

// hand puts an event in the place of an older one of its name. Of more than there may
// be, the oldest go.
func (w bulletin) hand(h handed) bulletin {
	w.Told = slices.DeleteFunc(slices.Clone(w.Told), func(o handed) bool { return o.Event == h.Event })
	w.Told = append(w.Told, h)
	slices.SortStableFunc(w.Told, func(a, b handed) int { return cmp.Compare(a.Number, b.Number) })
	for len(w.Told) > maxHanded || len(w.text()) > maxBulletin/2 { // There are addresses too
		w.Told = w.Told[1:]
	}
	return w
}

// text is the bulletin as it is sent, and as the state has it.
func (w bulletin) text() []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false) // It would make six bytes of one
	_ = to.Encode(w)        // It is made of texts and numbers
	return bytes.TrimSpace(text.Bytes())
}

// parseBulletin takes what a stranger sent, and leaves nothing in it that is not bounded.
func parseBulletin(text []byte) (w bulletin, err error) {
	if len(text) > maxBulletin {
		return bulletin{}, fmt.Errorf("it has %d bytes, and may have %d", len(text), maxBulletin)
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return bulletin{}, fmt.Errorf("it is not what netwatch says: %s", clipped(err.Error()))
	}
	if w.Number > maxNumber || w.Connect <= 0 || w.Connect > w.Number {
		return bulletin{}, errors.New("its numbers are none that netwatch gives")
	}
	if len(w.Told) > maxHanded {
		return bulletin{}, fmt.Errorf("it hands on %d events, and may hand on %d", len(w.Told), maxHanded)
	}
	w.Version, w.Stood = clipped(w.Version), nil
	w.bound()
	for len(text) > maxBulletin/8 && len(w.Told) > 0 && len(w.text()) > maxBulletin-ours {
		w.Told = w.Told[1:] // What is escaped is longer, and the state is to have it
	}
	return w, nil
}

// bound leaves out what cannot be, and shortens the rest.
func (w *bulletin) bound() {
	maps.DeleteFunc(w.Addresses, func(f netwatch.Family, a netwatch.Address) bool {
		return !a.Address.IsValid() || netwatch.FamilyOf(a.Address) != f || a.Address.Zone() != ""
	})
	for family, a := range w.Addresses {
		w.Addresses[family] = published(a)
	}
	w.Told = slices.DeleteFunc(w.Told, func(h handed) bool {
		return !netwatch.EventName().MatchString(h.Event) || h.Number <= 0 || h.Number > w.Number
	})
	w.Serves = slices.DeleteFunc(w.Serves[:min(len(w.Serves), maxServe)], func(name string) bool {
		return !peerName().MatchString(name)
	})
	for i := range w.Told {
		h := &w.Told[i]
		h.ID, h.Family, h.Old, h.New = clipped(h.ID), clipped(h.Family), clipped(h.Old), clipped(h.New)
	}
}

// published is what of an address one machine tells another.
func published(a netwatch.Address) netwatch.Address {
	by := slices.Clone(a.By[:min(len(a.By), maxServers)])
	for i := range by {
		by[i] = clipped(by[i])
	}
	return netwatch.Address{Address: a.Address, Since: a.Since, Confirmed: a.Confirmed, By: by}
}

// clipped is a text of a stranger's, printable and not too long.
func clipped(text string) string {
	text = netwatch.Printable(strings.ToValidUTF8(text[:min(len(text), maxText)], ""))
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}
