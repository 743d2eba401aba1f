package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An event is a line of go test -json (go doc test2json, and go help buildjson for
// what the compiler says).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// A test is one by its share, package and name; one within another has a name with a
// /, and without a name it is the package.
type test struct {
	share     int
	pkg, name string
}

func (t test) String() string { return strings.TrimSpace(t.pkg + " " + t.name) }
func (t test) inside() bool   { return strings.Contains(t.name, "/") }
func (t test) whole() test    { return test{t.share, t.pkg, ""} }

// A tally is what is known of all tests until now.
type tally struct {
	screen *screen
	began  time.Time
	total  int
	// left is how many tests of a package have not ended, and open whose package
	// has not.
	left map[test]int
	open map[test]bool
	// running are tests that have begun and not ended, and since when.
	running []running
	ended   []timing
	well    map[test]bool
	// said is what a package and its tests printed, as long as it may fail.
	said map[test][]saying
	// built is what the compiler, the linker and vet said.
	built strings.Builder
	// wrong is all that failed, with what was printed.
	wrong []string
}

type running struct {
	test
	since time.Time
}

type timing struct {
	test
	seconds float64
}

type saying struct {
	test
	text string
}

func newTally(shares []share, s *screen) *tally {
	t := &tally{
		screen: s, began: time.Now(), left: map[test]int{},
		open: map[test]bool{}, well: map[test]bool{}, said: map[test][]saying{},
	}
	for i, share := range shares {
		for pkg, n := range share.tests {
			t.left[test{i, pkg, ""}] = n
			t.total += n
		}
	}
	return t
}

// follow takes all lines, and shows how far it is with each test and after each
// pause.
func (t *tally) follow(lines <-chan said, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case said, more := <-lines:
			if !more {
				return
			}
			t.line(said.share, said.line)
		case <-tick.C:
			t.screen.over(t.standing())
		}
	}
}

// line takes one line; what is no event is printed as it is.
func (t *tally) line(share int, line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		_, _ = t.screen.Write(line)
		return
	}
	of := test{share, e.Package, e.Test}
	switch e.Action {
	case "build-output":
		t.built.WriteString(e.Output)
	case "start":
		t.open[of] = true
	case "run":
		t.begin(of)
	case "output":
		t.said[of.whole()] = append(t.said[of.whole()], saying{of, e.Output})
	case "pass", "skip", "fail":
		t.finish(of, e)
	}
}

func (t *tally) begin(of test) {
	if of.inside() {
		return
	}
	t.running = append(t.running, running{of, time.Now()})
	if t.screen.tty {
		t.screen.over(t.standing())
	}
}

// finish notes the end of a test, or of a package.
func (t *tally) finish(of test, e event) {
	t.well[of] = e.Action != "fail"
	switch {
	case e.Test == "":
		t.finishPackage(of, t.well[of])
	case !of.inside():
		t.left[of.whole()]--
		t.running = slices.DeleteFunc(t.running, func(r running) bool { return r.test == of })
		t.ended = append(t.ended, timing{of, e.Elapsed})
		if !t.well[of] {
			fmt.Fprintf(t.screen, "FAIL %s (%.1fs): what it printed comes at the end\n", of, e.Elapsed)
		}
	}
}

// finishPackage keeps what a package that failed has printed, less what its tests
// that are well did. Of one that is well all tests must have run.
func (t *tally) finishPackage(of test, well bool) {
	delete(t.open, of)
	switch {
	case !well:
		t.wrong = append(t.wrong, strings.TrimSuffix(t.output(of), "\n"), "FAIL "+of.pkg)
	case t.left[of] > 0:
		silent := fmt.Sprintf("FAIL %s: all is well, it says, and %d of its tests did not run", of.pkg, t.left[of])
		t.wrong = append(t.wrong, silent)
	}
	delete(t.said, of)
}

// output is what a package and its tests that are not well printed.
func (t *tally) output(pkg test) string {
	var text strings.Builder
	for _, s := range t.said[pkg] {
		if s.name == "" || !t.well[s.test] {
			text.WriteString(s.text)
		}
	}
	return text.String()
}

// standing says how far it is, and which test takes longest of those that run.
func (t *tally) standing() string {
	failed := 0
	for _, e := range t.ended {
		if !t.well[e.test] {
			failed++
		}
	}
	done, left := len(t.ended), max(0, t.total-len(t.ended))
	line := fmt.Sprintf("%d of %d done, %d left, %d failed, %v", done, t.total, left, failed, since(t.began))
	if len(t.running) > 0 {
		r := t.running[0]
		line += fmt.Sprintf(": %s (%v)", r, since(r.since))
	}
	return line
}

func since(when time.Time) time.Duration { return time.Since(when).Round(time.Second) }

// end prints what was slow and what failed, and is the exit code. err is how go
// test ended.
func (t *tally) end(err error) int {
	for pkg := range t.open {
		t.wrong = append(t.wrong, t.output(pkg), "FAIL "+pkg.String()+": it was not heard to its end")
	}
	switch {
	case err != nil:
		t.wrong = append(t.wrong, fmt.Sprintf("FAIL go test: %v", err))
	case len(t.ended) == 0:
		t.wrong = append(t.wrong, "FAIL no test ran")
	}
	t.slowest()
	fmt.Fprint(t.screen, t.built.String())
	for _, text := range t.wrong {
		fmt.Fprintln(t.screen, text)
	}
	fmt.Fprintf(t.screen, "%d tests in %v\n", len(t.ended), since(t.began))
	if len(t.wrong) > 0 {
		return 1
	}
	return 0
}

// slowest prints the ten tests that took longest, of those that took their time.
func (t *tally) slowest() {
	slices.SortFunc(t.ended, func(a, b timing) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintln(t.screen, "the slowest:")
	for _, e := range t.ended[:min(10, len(t.ended))] {
		fmt.Fprintf(t.screen, "%8.2fs %s\n", e.seconds, e.test)
	}
}
