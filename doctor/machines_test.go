package doctor

import (
	"errors"
	"testing"

	"netwatch"
	"netwatch/control"
)

// Each of the other machines is found as it stands, and a rule that waits for one that
// was never heard.
func TestMachines(t *testing.T) {
	const source = "[source.mqtt]\nbroker = \"mqtts://b.example\"\nhost = \"a\"\npassword = \"@/p\"\n"
	const rules = `
[[rule]]
name = "there"
on = ["peer-changed"]
match = { peer = "gate*" }
do = ["exec /bin/true"]
[[rule]]
name = "slip"
on = ["peer-changed"]
match = { peer = "gatway" }
do = ["exec /bin/true"]
[[rule]]
name = "all"
on = ["peer-changed"]
do = ["exec /bin/true"]
`
	s := configured(t, source+rules)
	s.daemon = func() (control.Status, error) {
		return control.Status{Peers: []netwatch.Peer{
			{Peer: "gateway", State: netwatch.PeerHere},
			{Peer: "b", State: netwatch.PeerGone},
			{Peer: "c", State: netwatch.PeerUnknown},
		}}, nil
	}
	found := checkMachines(t.Context(), s)
	if len(found) != 4 {
		t.Fatalf("%+v", found)
	}
	wants(t, "here", found[0], OK, "is connected")
	wants(t, "gone", found[1], Warning, "it is gone since")
	wants(t, "unknown", found[2], Unknown, "nothing is heard")
	wants(t, "slip", found[3], Warning, "waits for a machine gatway")
	if found := checkMachines(t.Context(), configured(t, rules)); len(found) != 2 {
		t.Errorf("without a source for it: %+v", found)
	}
	s.daemon = func() (control.Status, error) { return control.Status{}, errors.New("down") }
	if found := checkMachines(t.Context(), s); len(found) > 0 {
		t.Errorf("without the daemon: %+v", found)
	}
}
