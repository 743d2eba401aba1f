package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// equalFile lists the mutants that are no fault: in which file, what is there and what would
// stand for it, and behind that, in lines of their own, why nobody can tell them apart.
const equalFile = "tools/mutate/equal"

// spare strikes the mutants of a package that equalFile lists, and prints the others that
// live. One that is listed and does not live is an error: it can be told from the program.
func spare(name string, mutants []*mutant) error {
	text, err := os.ReadFile(equalFile)
	if err != nil {
		return err
	}
	lives := map[string]bool{}
	for _, m := range mutants {
		if m.killed {
			continue
		}
		line := fmt.Sprintf("%s: %s => %s", m.file, m.from, m.to)
		lives[line] = true
		if m.equal = strings.Contains("\n"+string(text), "\n"+line+"\n"); m.equal {
			continue
		}
		state := "lived"
		if !m.covered {
			state = "not covered"
		}
		fmt.Printf("%s, %s\n", m, state)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+"/") && !lives[strings.TrimSpace(line)] && *only == "" {
			err = errors.Join(err, fmt.Errorf("%s has %s, which does not live", equalFile, strings.TrimSpace(line)))
		}
	}
	return err
}

// A score is what became of a package's mutants.
type score struct {
	name                                        string
	killed, simulated, lived, uncovered, spared int
}

// count counts them.
func count(name string, mutants []*mutant) score {
	s := score{name: name}
	for _, m := range mutants {
		switch {
		case m.killed && m.simulated:
			s.simulated++
		case m.killed:
			s.killed++
		case m.equal:
			s.spared++
		case m.covered:
			s.lived++
		default:
			s.uncovered++
		}
	}
	return s
}

// efficacy is which part of the mutants that a test gets to is killed.
func (s score) efficacy() float64 {
	killed := float64(s.killed + s.simulated)
	return killed / max(1, killed+float64(s.lived))
}

// text is a table of scores.
func text(table []score) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-10s %8s %10s %6s %8s %12s %9s\n", "package", "by tests", "simulated", "lived", "the same",
		"not covered", "efficacy")
	for _, s := range table {
		fmt.Fprintf(&b, "%-10s %8d %10d %6d %8d %12d %8.1f%%\n", s.name, s.killed, s.simulated, s.lived, s.spared,
			s.uncovered, 100*s.efficacy())
	}
	return b.String()
}
