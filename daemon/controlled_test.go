package daemon

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/actions"
	"netwatch/control"
)

// ofOpenVPN is what the hook tells.
var ofOpenVPN = control.Request{Event: netwatch.VPNChanged, Source: "openvpn", NoWait: true}

// Who does not wait may have gone before his event is accepted.
func TestFireOfWhoHasGone(t *testing.T) {
	file := configured(t, "[[rule]]\non = [\"vpn-changed\"]\ndo = [\"exec /bin/true\"]\n")
	d, err := New(file, "devel", zerolog.Nop(), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.store.Close()
	gone, leave := context.WithCancel(t.Context())
	leave()
	a, err := controlled{d}.Fire(gone, ofOpenVPN, nil)
	if err != nil || len(a.Rules) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	d.rules.Drain(t.Context())
}

// An event is of the source that lets its user fire.
func TestSourceOfTheUser(t *testing.T) {
	file := configured(t, "[source.office]\nkind = \"openvpn\"\nusers = [\"root\"]\n"+
		"[source.guest]\nkind = \"openvpn\"\nusers = [\"nobody\"]\n"+
		"[[rule]]\non = [\"vpn-changed\"]\ndo = [\"exec /bin/true\"]\n")
	d, err := New(file, "devel", zerolog.Nop(), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.store.Close()
	for uid, want := range map[uint32]string{0: "office", 65534: "guest"} {
		r := ofOpenVPN
		r.UID = uid
		if got, err := (controlled{d}).sourceOf(r); got != want || err != nil {
			t.Errorf("of user %d: %s, %v", uid, got, err)
		}
	}
}
