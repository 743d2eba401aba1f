package helper

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What is remembered of a text is bounded, and still a text.
func TestBounded(t *testing.T) {
	if got := bounded("as it is"); got != "as it is" {
		t.Error(got)
	}
	if whole := strings.Repeat("x", maxText); bounded(whole) != whole {
		t.Error("what is not too long is cut")
	}
	for n := range 4 {
		got := bounded(strings.Repeat("x", n) + strings.Repeat("é", 1<<20))
		if len(got) > maxText+len("…") || !utf8.ValidString(got) || !strings.HasSuffix(got, "é…") {
			t.Errorf("%d bytes, %q", len(got), got[len(got)-8:])
		}
	}
}
