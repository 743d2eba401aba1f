package drawn

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Two properties draw the same.
func TestDrawnAlike(t *testing.T) {
	draw := func() (all []uint64) {
		rapid.Check(t, func(t *rapid.T) { all = append(all, rapid.Uint64().Draw(t, "number")) })
		return all
	}
	if one, two := draw(), draw(); Err != nil || len(one) < 2 || !slices.Equal(one, two) {
		t.Errorf("drawn is %d, and then %d: %v", one, two, Err)
	}
}
