package servers

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netwatch"
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

// Texts end alike in whole lines, and as far as the shorter one goes.
func TestCommonEnd(t *testing.T) {
	for _, c := range []struct{ a, b, end string }{
		{"a\nx\n", "b\nx\n", "x\n"}, {"x\n", "b\nx\n", "x\n"}, {"b\nx\n", "x\n", "x\n"}, {"x", "bx", ""}, {"a", "a", "a"},
	} {
		if n := commonEnd([]byte(c.a), []byte(c.b)); n != len(c.end) {
			t.Errorf("%q and %q have %d bytes in common", c.a, c.b, n)
		}
	}
}

// What was added is in the record, with what stands there now, and is taken back once.
func TestTakeBack(t *testing.T) {
	dir, records := t.TempDir(), t.TempDir()
	file, record := filepath.Join(dir, "coturn.conf"), filepath.Join(records, "record")
	const before = "realm=r\n"
	r := Rotation{Target: Target{Server: "coturn", File: file}}
	server, err := Named("coturn")
	if err != nil {
		t.Fatal(err)
	}
	text := before
	for _, now := range []string{"realm=r\nexternal-ip=198.51.100.7\n", "realm=r\nexternal-ip=198.51.100.8\n"} {
		r.record(record, server, []byte(text), []byte(now))
		text = now
	}
	if a, err := readAddition(record); err != nil || a.File != file || a.Text != "external-ip=198.51.100.8\n" {
		t.Errorf("the record is %+v, %v", a, err)
	}
	err = errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(records+"/damaged", nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	done := func(file, lines string) { told = append(told, file+": "+lines) }
	errs := takeBack(t.Context(), records, done)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "JSON") ||
		!strings.Contains(netwatch.Hint(errs[0]), "by hand") {
		t.Errorf("it says %v", errs)
	}
	if now, err := os.ReadFile(file); string(now) != before || err != nil {
		t.Errorf("afterwards it is %q, %v", now, err)
	}
	if want := []string{file + ": external-ip=198.51.100.8\n"}; !slices.Equal(told, want) {
		t.Errorf("told is %q", told)
	}
	if _, err := os.Stat(record); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is still there: %v", err)
	}
}

// A record of what nobody can tell any more goes.
func TestRecordGoes(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	server, err := Named("coturn")
	if err != nil {
		t.Fatal(err)
	}
	r := Rotation{Target: Target{Server: "coturn", File: "/f"}}
	const added, another = "realm=r\nexternal-ip=198.51.100.7\n", "realm=r\nexternal-ip=198.51.100.8\n"
	r.record(record, server, []byte("realm=r\n"), []byte(added))
	// Somebody else wrote meanwhile.
	r.record(record, server, []byte("realm=r\nexternal-ip=203.0.113.5\n"), []byte(another))
	if _, err := os.Stat(record); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// A record of a file that is gone goes too, and nothing is told.
func TestTakeBackOfNothing(t *testing.T) {
	records := t.TempDir()
	if err := os.WriteFile(records+"/record", []byte(`{"file": "`+records+`/none", "text": "x\n"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if errs := takeBack(t.Context(), records, func(file, _ string) { t.Errorf("%s is told", file) }); errs != nil {
		t.Errorf("it says %v", errs)
	}
}
