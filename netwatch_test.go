package netwatch

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// However long what strangers said is, an entry stays one that can be kept.
func TestTell(t *testing.T) {
	var e Entry
	e.Tell(Result{Outcome: Failed, Detail: "short", Err: WithHint(errors.New("short too"), "a hint")})
	if e.Outcome != Failed || e.Detail != "short" || e.Error != "short too" || e.Hint != "a hint" {
		t.Errorf("%+v", e)
	}
	long := strings.Repeat("é", 1<<20)
	e.Tell(Result{Outcome: Failed, Detail: long, Err: WithHint(errors.New(long), long)})
	for _, text := range []string{e.Detail, e.Error, e.Hint} {
		if len(text) > mostSaid+len("…") || !strings.HasSuffix(text, "é…") || !utf8.ValidString(text) {
			t.Errorf("%d bytes of %.20s", len(text), text)
		}
	}
}
