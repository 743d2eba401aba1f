package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A suite is the tests of a package, in one program with all mutants.
type suite struct {
	program, dir string
	args         []string
	tests        []*test

	mu sync.Mutex
	// kills is how many mutants of a file a test has killed: it is likely to kill the next one.
	kills map[string]map[string]int
}

// A test is one of them.
type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool
	err     error
}

// build compiles tests.
func build(by standIn, program, overlay string) (*suite, error) {
	dir, err := filepath.Abs(by.name)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "test", "-c", "-tags", *tags, "-overlay", overlay, "-o", program, "./"+by.name).
		CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compiling the tests of %s: %w\n%s", by.name, err, out)
	}
	s := &suite{program: program, dir: dir, kills: map[string]map[string]int{}}
	if _, err := os.Stat(program); os.IsNotExist(err) {
		return s, nil // It has none.
	}
	if out, err = exec.Command(program, "-test.list", by.tests).Output(); err != nil {
		return nil, fmt.Errorf("listing the tests of %s: %w", by.name, err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		s.tests = append(s.tests, &test{name: name})
	}
	// What a mutant fails with is not to be tried again with the next one.
	const forgets = "-rapid.nofailfile"
	if exec.Command(program, "-test.list", "^$", forgets).Run() == nil {
		s.args = append(s.args, forgets)
	}
	return s, nil
}

// measure runs each test by itself: how long it takes, and which mutants' places it gets to.
func (s *suite) measure() error {
	each(s.tests, func(t *test) { t.err = s.reach(t) })
	slices.SortFunc(s.tests, func(a, b *test) int { return int(a.took - b.took) })
	var errs []error
	for _, t := range s.tests {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}

// reach runs one test alone, once more if it fails, as it may on a busy machine.
func (s *suite) reach(t *test) error {
	reached := fmt.Sprintf("%s.%s", s.program, t.name)
	var said []byte
	for range 2 {
		if err := errors.Join(os.WriteFile(reached, nil, 0o600), os.Chmod(reached, 0o666)); err != nil {
			return err
		}
		began := time.Now()
		out, err := s.run([]*test{t}, 5*time.Minute, "MUTANTS_REACHED="+reached)
		if said = out; err != nil {
			continue
		}
		t.took, t.reaches = time.Since(began), map[int]bool{}
		text, err := os.ReadFile(reached)
		for line := range strings.Lines(string(text)) {
			var id int
			_, _ = fmt.Sscan(line, &id)
			t.reaches[id] = true
		}
		return err
	}
	return fmt.Errorf("%s fails alone, with nothing wrong:\n%s", t.name, said)
}

// run runs some of the tests.
func (s *suite) run(tests []*test, limit time.Duration, env string) (out []byte, err error) {
	var names []string
	for _, t := range tests {
		names = append(names, t.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// What takes ever more memory is to die before the machine does.
	args := append([]string{
		"-c", `ulimit -v 8000000; exec "$@"`, "sh", s.program,
		"-test.run", "^(" + strings.Join(names, "|") + ")$", "-test.failfast",
	}, s.args...)
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

// try has a mutant seen by the tests that get to its place, the likeliest and quickest
// first, until one fails, or does not end.
func (s *suite) try(m *mutant) {
	some := s.reaching(m)
	m.covered = m.covered || len(some) > 0
	for len(some) > 0 && !m.killed {
		n, took := 0, time.Duration(0)
		for n < len(some) && (n == 0 || took+some[n].took < 2*time.Second) {
			took += some[n].took
			n++
		}
		out, err := s.run(some[:n], 10*time.Second+5*took, fmt.Sprintf("MUTANT=%d", m.id))
		if m.killed, some = err != nil, some[n:]; m.killed {
			s.killed(m, string(out))
		}
	}
}

// reaching are the tests that get to the place of a mutant.
func (s *suite) reaching(m *mutant) (some []*test) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tests {
		if t.reaches[m.id] {
			some = append(some, t)
		}
	}
	kills := s.kills[m.file]
	slices.SortStableFunc(some, func(a, b *test) int { return kills[b.name] - kills[a.name] })
	return some
}

// killed notes which tests have killed a mutant.
func (s *suite) killed(m *mutant, said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kills[m.file] == nil {
		s.kills[m.file] = map[string]int{}
	}
	for _, failed := range failure.FindAllStringSubmatch(said, -1) {
		s.kills[m.file][failed[1]]++
	}
}

// failure is how a test says that it failed.
var failure = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
