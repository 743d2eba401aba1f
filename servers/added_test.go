package servers

import "testing"

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
		// Somebody's own line.
		{"external-ip=1\n", "external-ip=2\n", "", ""},
		{"external-ip=1\n", "external-ip=12\n", "", ""},
		{"a\n5\n", "a\n15\n", "", ""},
		{"a\nexternal-ip=3\nb\n", "a\nexternal-ip=2\nb\n", "external-ip=1\n", ""},
		{"a\nexternal-ip=1\nexternal-ip=3\n", "a\nexternal-ip=2\n", "external-ip=1\n", ""},
		{"a\nexternal-ip=1\n", "a\n", "external-ip=1\n", ""},
	} {
		if got := added([]byte(c.before), []byte(c.after), []byte(c.was)); string(got) != c.text {
			t.Errorf("from %q to %q, with %q before, %q was added, not %q", c.before, c.after, c.was, got, c.text)
		}
	}
}
