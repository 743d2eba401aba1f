package sources

import (
	"fmt"
	"net/netip"
	"testing"

	"netwatch"
)

// What settings say of their source is so: that it can be asked, or not.
func TestProbedIsSo(t *testing.T) {
	some := false
	for _, kind := range Kinds {
		settings := kind.Settings()
		env := newLedger().env()
		_, able := settings.Source(kind.Name, env).(netwatch.Prober)
		if _, says := settings.(Probed); says != able {
			t.Errorf("%s: it can be asked: %v, and says %v", kind.Name, able, says)
		}
		some = some || able
	}
	if !some {
		t.Error("no source can be asked")
	}
}

// Each kind says itself what it needs.
func TestNeeds(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		settings Settings
		want     Needs
	}{
		{&STUN{Accept: loopback}, Needs{Accepts: loopback}},
		{&File{Files: []netwatch.Path{"/a", "/b"}}, Needs{Watches: []netwatch.Path{"/a", "/b"}}},
		// Certificates are not to be opened, nor ever are their keys.
		{&Cert{Files: []netwatch.Path{"/c"}, Key: []netwatch.Path{"/k"}}, Needs{}},
		{&Netlink{}, Needs{}},
		{&OpenVPN{}, Needs{}},
	} {
		if got := NeedsOf(c.settings); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%T needs %v, and says %v", c.settings, c.want, got)
		}
	}
}

// A certificate has the key that is given for it, or one that is looked for.
func TestCertificates(t *testing.T) {
	c := &Cert{Files: []netwatch.Path{"/a", "/b"}}
	if got := fmt.Sprint(c.Certificates()); got != "[{/a } {/b }]" {
		t.Error(got)
	}
	c.Key = []netwatch.Path{"/c", "/d"}
	if got := fmt.Sprint(c.Certificates()); got != "[{/a /c} {/b /d}]" {
		t.Error(got)
	}
}

// What follows from the answers is said for each family.
func TestAsk(t *testing.T) {
	s := settings(t, startServer(t), startServer(t))
	s.Families = []netwatch.Family{netwatch.IPv6, netwatch.IPv4}
	told := s.Ask(t.Context(), nil)
	if len(told) != 2 || told[0].Family != netwatch.IPv6 || told[0].Err == nil || len(told[0].Answers) != 0 {
		t.Fatalf("%+v", told)
	}
	v4 := told[1]
	if v4.Family != netwatch.IPv4 || v4.Agree != s.Agree || len(v4.Answers) != 2 || v4.Answers[1].Server != s.Servers[1] {
		t.Errorf("%+v", v4)
	}
	address, _, err := Verdict(told[1].Answers, s.Agree)
	if told[1].Address != address || fmt.Sprint(told[1].Err) != fmt.Sprint(err) {
		t.Errorf("%v %v, and not %v %v", told[1].Address, told[1].Err, address, err)
	}
}
