package netwatch_test

import (
	"testing"

	"netwatch"
)

func TestWithoutLines(t *testing.T) {
	for _, c := range []struct{ text, lines, rest string }{
		{"a\nb\nc\n", "b\n", "a\nc\n"},
		{"b\nc", "b\n", "c"},
		{"a\nb\n", "b\n", "a\n"},
		{"a\nb", "\nb", "a"},           // The text had no line end
		{"a\nb\nc\n", "\nb", "a\nc\n"}, // And somebody has gone on
		{"a\nb\nc\n", "\nb\n", "a\nc\n"},
		{"a\nb\n", "\nb\n", "a"},
		{"a\n\nb\nc\n", "\nb\n", "a\nc\n"},
		{"a\nbc\n", "\nb", "-"},
		{"a\r\nb\r\nc", "b\r\n", "a\r\nc"},
		{"#b\nc\n", "b\n", "-"}, // Commented out: what follows must not be
		{"b\na\nb\n", "b\n", "-"},
		{"a\n", "b\n", "-"},
		{"a\n", "", "-"},
	} {
		rest, were := netwatch.WithoutLines([]byte(c.text), []byte(c.lines))
		if want := c.rest != "-"; were != want || want && string(rest) != c.rest || !want && string(rest) != c.text {
			t.Errorf("%q without %q is %q, %v", c.text, c.lines, rest, were)
		}
	}
}
