package netwatch

import (
	"slices"
	"testing"
)

// The nearest comes first, what is as near stays in order, what is too far is left out.
func TestNearest(t *testing.T) {
	got := Nearest("restrt", []string{"reset", "start", "restart", "stop", "restrt2"}, 2)
	if want := []string{"restart", "restrt2", "reset"}; !slices.Equal(got, want) {
		t.Errorf("near are %q, and not %q", got, want)
	}
	if got := Nearest("weather", []string{"restart"}, 2); len(got) > 0 {
		t.Errorf("near are %q", got)
	}
}
