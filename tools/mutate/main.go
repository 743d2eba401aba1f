// Mutate makes the program wrong in one little place after the other, as a slip of the
// pen would, and looks whether a test fails then: where none does, a test is missing, or
// the code says more than is needed.
//
//	mutate [FLAG...] PACKAGE...
//
// All the mutants of a package are in one program, and a variable of the environment says
// which one it is: so it is compiled once, and each mutant has to do with those tests alone
// that get to its place. First come the package's own tests, then those that stand for it
// elsewhere, and for what survives these the simulated world.
//
// It fails when less than 95 of 100 mutants that a test gets to are killed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
)

// enough is which part of the mutants that a test gets to must be killed.
const enough = 0.95

// What is asked for.
var (
	workers = flag.Int("workers", runtime.NumCPU(), "how many mutants are tried at once")
	seeds   = flag.Int("seeds", 20, "how many simulated worlds see what survives; 0 is none")
	tags    = flag.String("tags", "", "build tags, which more tests may need")
	list    = flag.Bool("list", false, "only say which mutants there are")
	among   = flag.String("by", "", "try them by the tests of those packages alone whose name fits")
	only    = flag.String("only", "", "try those mutants alone whose line, as it is printed, fits")
)

// elsewhere are tests that stand for those of another package: what they are called in
// which one.
var elsewhere = map[string][]standIn{
	"access":  {{"actions", "Rotate"}},
	"edit":    {{"servers", "^Test"}},
	"rewrite": {{"actions", "Rotate"}},
	"sources": {{"config", "^Test"}},
	"servers": {{"helper", "^Test"}, {"actions", "^TestRotate"}},
}

// A standIn is some of the tests of a package.
type standIn struct{ name, tests string }

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp("", "mutate")
	if err == nil {
		err = os.Chmod(dir, 0o711) // Tests have other users say where they get
	}
	if err == nil {
		err = all(flag.Args(), dir)
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// all tries the mutants of each package, and prints a table in the end.
func all(packages []string, dir string) error {
	var table []score
	few := 0
	for _, name := range packages {
		mutants, err := try(name, filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			return fmt.Errorf("trying %s: %w", name, err)
		}
		s := count(name, mutants)
		if table = append(table, s); s.efficacy() < enough {
			few++
		}
	}
	fmt.Print(text(table))
	if few > 0 {
		return fmt.Errorf("of %d packages too many mutants live", few)
	}
	return nil
}

// try tries the mutants of one package.
func try(name, dir string) ([]*mutant, error) {
	p, err := load(name)
	if err != nil {
		return nil, err
	}
	fits, err := regexp.Compile(*only)
	asked, wrong := regexp.Compile(*among)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	if p.overlay, err = p.write(dir); err != nil {
		return nil, err
	}
	mutants := p.mutants[:0]
	for _, m := range p.mutants {
		if fits.MatchString(m.String()) {
			mutants = append(mutants, m)
		}
	}
	if *list {
		return mutants, spare(name, mutants)
	}
	for _, by := range append([]standIn{{name, "^(Test|Fuzz)"}}, elsewhere[name]...) {
		if asked.MatchString(by.name) {
			err = errors.Join(err, p.tests(by, dir, mutants))
		}
	}
	if err != nil {
		return nil, err
	}
	if err := p.simulate(dir, mutants); err != nil {
		return nil, err
	}
	return mutants, spare(name, mutants)
}

// tests tries mutants by tests.
func (p *pack) tests(by standIn, dir string, mutants []*mutant) error {
	s, err := build(by, filepath.Join(dir, filepath.Base(by.name)+".test"), p.overlay)
	if err != nil {
		return err
	}
	if err := s.measure(); err != nil {
		return err
	}
	var tried atomic.Int32
	each(mutants, func(m *mutant) {
		if !m.killed {
			s.try(m)
		}
		if n := tried.Add(1); n%100 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d mutants of %s tried by %s\n", n, len(mutants), p.name, by.name)
		}
	})
	return nil
}

// simulate has what survived seen by simulated worlds.
func (p *pack) simulate(dir string, mutants []*mutant) error {
	left := 0
	for _, m := range mutants {
		if !m.killed {
			left++
		}
	}
	if *seeds == 0 || left == 0 {
		return nil
	}
	s, err := build(standIn{"simulate", "^TestSeeds$"}, filepath.Join(dir, "simulate.test"), p.overlay)
	if err != nil {
		return err
	}
	s.args = append(s.args, "-seeds", fmt.Sprint(*seeds), "-shrink=false")
	if err := s.measure(); err != nil {
		return err
	}
	each(mutants, func(m *mutant) {
		if was := m.covered; !m.killed {
			s.try(m)
			m.simulated, m.covered = m.killed, was || m.killed // To get to it is no test
		}
	})
	return nil
}

// each does something with each of all, with several at once.
func each[T any](all []T, do func(T)) {
	next := make(chan T)
	var working sync.WaitGroup
	for range *workers {
		working.Go(func() {
			for one := range next {
				do(one)
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	working.Wait()
}
