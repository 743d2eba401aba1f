package netwatch

import (
	"cmp"
	"slices"

	"github.com/agext/levenshtein"
)

// Nearest lists the known words that somebody may have meant by word, the nearest
// first. At most so many letters of them are wrong, missing or too many as most says.
func Nearest(word string, known []string, most int) []string {
	far := func(k string) int { return levenshtein.Distance(word, k, nil) }
	near := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return far(k) > most })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(far(a), far(b)) })
	return near
}
