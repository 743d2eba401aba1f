package config

import (
	"fmt"
	"strings"

	"netwatch"
)

// nearest is the known word that word is most likely meant to be, or empty
// when none is near: at most three letters, and at most half of the word, are
// another then.
func nearest(word string, known []string) string {
	return within(word, known, min(3, max(1, len(word)/2)))
}

// within is the nearest known word at no more than an edit distance, or empty.
func within(word string, known []string, distance int) string {
	near := append(netwatch.Nearest(word, known, distance), "")
	return near[0]
}

// unknown says that a word is none of those known, as in "unknown key".
func unknown(what, word string, known []string) error {
	if near := nearest(word, known); near != "" {
		return fmt.Errorf("unknown %s, did you mean `%s`?", what, near)
	}
	return fmt.Errorf("unknown %s: there are %s", what, strings.Join(known, ", "))
}
