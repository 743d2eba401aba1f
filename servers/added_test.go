package servers

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// What was added is known as long as it is whole lines of ours and nothing else changed.
func TestAdded(t *testing.T) {
	for _, c := range []struct{ before, after, was, text string }{
		{"realm=r\n", "realm=r\nexternal-ip=1\n", "", "external-ip=1\n"},
		{"realm=r", "realm=r\nexternal-ip=1", "", "\nexternal-ip=1"},
		{"", "external-ip=1\n", "", "external-ip=1\n"},
		{"a\nb\n", "a\nexternal-ip=1\nb\n", "", "external-ip=1\n"},
		{"a\nexternal-ip=1\nb\n", "a\nexternal-ip=2\nb\n", "external-ip=1\n", "external-ip=2\n"},
		{"a\nexternal-ip=1", "a\nexternal-ip=2", "\nexternal-ip=1", "\nexternal-ip=2"},
		{"external-ip=1\nb\n", "external-ip=1\nexternal-ip=::2\nb\n", "external-ip=1\n", "external-ip=1\nexternal-ip=::2\n"},
		{"external-ip=::1\nb\n", "external-ip=1\nexternal-ip=::1\nb\n", "", "external-ip=1\n"},
		{"a: 1\nk: 5\n", "a: 2\nk: 5\n", "k: 5\n", "k: 5\n"}, // By another step of the same file
		// Somebody's own line.
		{"external-ip=1\n", "external-ip=2\n", "", ""},
		{"external-ip=1\n", "external-ip=12\n", "", ""},
		{"a\n5\n", "a\n15\n", "", ""},
		{"a\nexternal-ip=3\nb\n", "a\nexternal-ip=2\nb\n", "external-ip=1\n", ""},
		{"a\nexternal-ip=1\nexternal-ip=3\n", "a\nexternal-ip=2\n", "external-ip=1\n", ""},
		{"a\nexternal-ip=1\n", "a\n", "external-ip=1\n", ""},
	} {
		named := func([]byte) bool { return true }
		got := added([]byte(c.before), []byte(c.after), addition{Text: c.was}, named)
		if got.Text != c.text || got.Was != "" {
			t.Errorf("from %q to %q, with %q before, %q was added, not %q", c.before, c.after, c.was, got, c.text)
		}
	}
}

// Each server that writes into a file without an address gives the file back as it was.
func TestAddedByEach(t *testing.T) {
	both := Options{"families": "ipv4,ipv6"}
	for name, c := range map[string]struct {
		conf    string
		options Options
	}{
		"coturn":   {"realm=r\n", nil},
		"livekit":  {"port: 7880\nrtc:\n  udp_port: 7882\n", nil},
		"eturnal":  {"eturnal:\r\n  secret: x\r\n", both},
		"ejabberd": {"listen:\n  -\n    port: 3478\n    module: ejabberd_stun\n    use_turn: true\n", both},
		"janus":    {"nat: {\n\tnice_debug = false\n}\n", nil},
		// What has a place for it that is empty, as a template that did not find it out.
		"coturn, empty":    {"realm=r\nexternal-ip=\nport=1\n", nil},
		"coturn, at last":  {"realm=r\nexternal-ip=", nil},
		"janus, empty":     {"nat: {\n\tnat_1_1_mapping = \"\"\n}\n", nil},
		"livekit, empty":   {"rtc:\n  node_ip: \"\"\n  udp_port: 7882\n", nil},
		"ejabberd, two":    {"listen:\n" + strings.Repeat("  - {port: 1, module: ejabberd_stun, use_turn: true}\n", 2), nil},
		"rtpengine":        {"[rtpengine]\ninterface = 192.168.50.10\nport-min = 1\n", nil},
		"rtpengine, again": {"[rtpengine]\ninterface = a/192.168.50.10;b/10.0.0.1\n", nil},
	} {
		name, _, _ := strings.Cut(name, ",")
		server, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		names := func(text []byte) bool {
			return slices.ContainsFunc(server.Advertised(text, nil), func(a netip.Addr) bool { return !a.IsUnspecified() })
		}
		text, was := []byte(c.conf), addition{}
		for _, public := range []string{"198.51.100.7 2001:db8::7", "198.51.100.207 2001:db8::1:7"} {
			w := wanted(public, own46, PrivateKeep)
			w.Options = c.options
			now, _, err := server.Rewrite(slices.Clone(text), w)
			if err != nil || string(now) == string(text) {
				t.Fatalf("%s: %q, %v", name, now, err)
			}
			was = added(text, now, was, names)
			text = now
		}
		if rest, is := was.without(text); !is || string(rest) != c.conf {
			t.Errorf("%s: without %q it is %q", name, was, rest)
		}
	}
}
