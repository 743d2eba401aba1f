package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// chooser is what is added to a package: which of its mutants it is, and where it gets.
const chooser = `package %s

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var mutantOn, _ = strconv.Atoi(os.Getenv("MUTANT"))

var mutantFile, _ = os.OpenFile(os.Getenv("MUTANTS_REACHED"), os.O_WRONLY|os.O_APPEND, 0)

var mutantReached [%d]atomic.Bool

func mutantAt(ids ...int) int {
	for _, id := range ids {
		if id == mutantOn {
			return id
		}
		if mutantFile != nil && !mutantReached[id].Swap(true) {
			fmt.Fprintln(mutantFile, id)
		}
	}
	return 0
}
`

// write writes the package with all its mutants into a directory, and what has the go
// command take these files for the ones that are there.
func (p *pack) write(dir string) (overlay string, err error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	replaced := map[string]string{}
	add := func(name, text string) error {
		there, err := filepath.Abs(name)
		here := filepath.Join(dir, filepath.Base(name))
		replaced[there] = here
		if err != nil {
			return err
		}
		return os.WriteFile(here, []byte(text), 0o600)
	}
	for _, f := range p.files {
		if err := add(f.name, f.mutated()); err != nil {
			return "", err
		}
	}
	chosen := fmt.Sprintf(chooser, p.types.Name(), len(p.mutants)+1)
	if err := add(filepath.Join(p.name, "mutant_chooser.go"), chosen); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay")
	return overlay, os.WriteFile(overlay, list, 0o600)
}

// mutated is the text of a file with all its mutants.
func (f *file) mutated() string { return f.between(0, len(f.text), f.places) }

// between is a part of the text with the mutants of the places in it, the outer ones first.
func (f *file) between(start, end int, places []place) string {
	var b strings.Builder
	for len(places) > 0 {
		outer, inner := places[0], 1
		for inner < len(places) && places[inner].start < outer.end {
			inner++
		}
		b.Write(f.text[start:outer.start])
		b.WriteString(outer.choice(f.between(outer.start, outer.end, places[1:inner])))
		start, places = outer.end, places[inner:]
	}
	b.Write(f.text[start:end])
	return b.String()
}

// choice is the text of a place as it is, or wrong in one of the ways that it can be. It
// stands in one line, so that lines keep their numbers.
func (p place) choice(as string) string {
	var ids, cases strings.Builder
	give := ""
	if p.value != "" {
		give = "return "
	}
	for i, m := range p.mutants {
		if i > 0 {
			ids.WriteString(", ")
		}
		fmt.Fprintf(&ids, "%d", m.id)
		fmt.Fprintf(&cases, "case %d: %s%s; ", m.id, give, m.text)
	}
	if p.value == "" {
		return fmt.Sprintf("(func() { switch mutantAt(%s) { %sdefault: %s } }())", &ids, &cases, as)
	}
	return fmt.Sprintf("(func() %s { switch mutantAt(%s) { %s}; return %s }())", p.value, &ids, &cases, as)
}
