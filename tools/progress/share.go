package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A share is what one of several go tests has to do.
type share struct {
	args []string
	// tests is how many it has of each package.
	tests map[string]int
}

// atOnce takes how many go tests are to run at once out of the words; it is one
// unless they say.
func atOnce(args []string) (n int, rest []string) {
	i := slices.Index(args, "-at-once")
	n, err := strconv.Atoi(value(args, "-at-once"))
	if i < 0 || err != nil || n < 1 {
		return 1, args
	}
	return n, slices.Concat(args[:i], args[i+2:])
}

// deal deals the tests of all packages out, as cards are. Those of one name go
// together, since go test knows them by their names alone. The first share has all
// packages, also those whose tests cannot be read; who would get none has no share.
func deal(all map[string][]string, args []string, n int) (shares []share) {
	names := slices.Compact(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(all))...))))
	for i := range max(1, min(n, len(names))) {
		mine := func(name string) bool { return slices.Index(names, name)%n == i }
		s := share{args: args, tests: map[string]int{}}
		for pkg, of := range all {
			if left := slices.DeleteFunc(slices.Clone(of), func(name string) bool { return !mine(name) }); len(left) > 0 {
				s.tests[pkg] = len(left)
			}
		}
		if i > 0 {
			s.args = slices.DeleteFunc(slices.Clone(args), isPackage)
			s.args = append(s.args, slices.Sorted(maps.Keys(s.tests))...)
		}
		if others := slices.DeleteFunc(slices.Clone(names), mine); len(others) > 0 {
			s.args = append([]string{"-skip", "^(" + strings.Join(others, "|") + ")$"}, s.args...)
		}
		shares = append(shares, s)
	}
	return shares
}

// isPackage says whether a word of go test's is packages.
func isPackage(word string) bool { return word == "." || strings.HasPrefix(word, "./") }
