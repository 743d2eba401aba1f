package netwatch

import (
	"cmp"
	"slices"

	"github.com/agext/levenshtein"
)

// Nearest are the known words that a word may have been meant to be, the nearest
// first: those of which at most so many letters are another, missing or too many.
func Nearest(word string, known []string, most int) []string {
	far := func(k string) int { return levenshtein.Distance(word, k, nil) }
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return far(k) > most })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(far(a), far(b)) })
	return near
}
