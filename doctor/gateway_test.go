package doctor

import (
	"errors"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
)

// A router that sees its way out change and only tells others wants no public address, and
// no systemd: that there are none is no finding. Where a rule writes an address it is one.
func TestDoctorOfAGateway(t *testing.T) {
	const sources = "[source.netlink]\n[source.mqtt]\nbroker = \"mqtts://b.example\"\nhost = \"a\"\npassword = \"@/p\"\n"
	const tells = "[[rule]]\non = [\"route-changed\"]\ndo = [\"tell\"]\n"
	const writes = "[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn /etc/turnserver.conf\"]\n"
	for text, want := range map[string]Level{
		sources + tells: "", sources + tells + writes: Problem, "[source.netlink]\n" + writes: Problem,
	} {
		s := configured(t, text)
		s.told = func() []told { return nil }
		s.daemon = func() (control.Status, error) { return control.Status{}, errors.New("down") }
		found := append(checkServers(t.Context(), s), checkAddress(t.Context(), s)...)
		if want == "" && len(found) > 0 || want != "" && (len(found) != 2 || found[0].Level != want) {
			t.Errorf("%s\n%+v", text, found)
		}
	}
	began := time.Now()
	if _, err := lookUnit(false)(t.Context(), "coturn.service"); err == nil || netwatch.Hint(err) == "" {
		t.Errorf("without systemd: %v", err)
	}
	if spent := time.Since(began); spent > time.Second {
		t.Errorf("what is not there was waited for: %s", spent)
	}
	if lookUnit(true) == nil {
		t.Error("with systemd nobody is asked")
	}
}
