package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const head = "package p\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\n"

const fine = "func TestFine(t *testing.T) { t.Log(\"nobody reads this\") }\n"

// played runs progress over packages whose test files are given.
func played(t *testing.T, tty bool, packages map[string]string, args ...string) (said string, code int) {
	t.Helper()
	dir := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module play\n\ngo 1.26\n")
	for name, text := range packages {
		write(name+"/p_test.go", head+text)
	}
	var out bytes.Buffer
	code = run(append(args, "./..."), dir, &screen{out: &out, tty: tty})
	return out.String(), code
}

// TestNothingIsHidden holds that whatever fails makes the whole fail, is named and
// has all that it printed shown, beside packages that are well.
func TestNothingIsHidden(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		wants []string
	}{
		"a test fails": {
			fine + "func TestBad(t *testing.T) { t.Log(\"first\"); t.Error(\"that is why\") }\n",
			[]string{"FAIL play/bad TestBad", "first", "that is why", "FAIL play/bad\n"},
		},
		"a test within a test fails": {
			"func TestBad(t *testing.T) {\n\tt.Run(\"in\", func(t *testing.T) { t.Error(\"that is why\") })\n" +
				"\tt.Run(\"well\", TestFine)\n}\n" + fine,
			[]string{"FAIL play/bad TestBad", "that is why", "--- FAIL: TestBad/in", "FAIL play/bad\n"},
		},
		"a test panics": {
			"func TestBad(t *testing.T) { panic(\"that is why\") }\n" + fine,
			[]string{"panic: that is why", "goroutine ", "FAIL play/bad\n"},
		},
		"it does not compile": {
			fine + "func TestBad(t *testing.T) { that_is_why() }\n", []string{"undefined: that_is_why", "FAIL play/bad\n"},
		},
		"it does not parse": {fine + "func TestBad(\n", []string{"p_test.go:", "FAIL play/bad\n"}},
		"vet has something": {
			fine + "func TestBad(t *testing.T) { t.Logf(\"%d\", \"x\") }\n",
			[]string{"has arg \"x\" of wrong type", "FAIL play/bad\n"},
		},
		"a test takes too long": {"func TestBad(t *testing.T) { select {} }\n", []string{"TestBad", "FAIL play/bad\n"}},
		"all ends before its time": {
			"func TestMain(m *testing.M) { os.Exit(3) }\n" + fine, []string{"exit status 3", "FAIL play/bad\n"},
		},
		"no test is run, and that well": {
			"func TestMain(m *testing.M) { os.Exit(0) }\n" + fine, []string{"play/bad", "1 of its tests did not run"},
		},
		"a test ends all, and that well": {
			"func TestBad(t *testing.T) { os.Exit(0) }\n" + fine, []string{"unexpected call to os.Exit(0)", "FAIL play/bad\n"},
		},
	} {
		said, code := played(t, false, map[string]string{"bad": c.text, "good": fine}, "-timeout", "3s")
		if code == 0 {
			t.Errorf("%s: the exit code is 0", name)
		}
		for _, want := range c.wants {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is not said:\n%s", name, want, said)
			}
		}
		if strings.Contains(said, "nobody reads this") {
			t.Errorf("%s: what is well is printed:\n%s", name, said)
		}
	}
}

// TestAllIsWell holds what is said when nothing is wrong: what was slow, how many
// tests there were, and how many are left on a terminal's one line.
func TestAllIsWell(t *testing.T) {
	const more = "func FuzzIt(f *testing.F) { f.Fuzz(func(*testing.T, bool) {}) }\nfunc Testing() {}\n"
	said, code := played(t, true, map[string]string{"a": fine, "b": fine + more})
	if code != 0 {
		t.Errorf("the exit code is %d:\n%s", code, said)
	}
	for _, want := range []string{
		"\r\x1b[K0 of 3 done, 3 left, 0 failed, ", "the slowest:\n", " play/b FuzzIt\n", "3 tests in ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said:\n%q", want, said)
		}
	}
}

// TestOneTest holds that -run counts as go test does, and that a name that no test
// has is a failure.
func TestOneTest(t *testing.T) {
	const other = "func TestOther(t *testing.T) { t.Error(\"it was not asked for\") }\n"
	packages := map[string]string{"a": fine + other, "b": fine}
	said, code := played(t, false, packages, "-run", "^TestFine/x|TestNone$")
	if code != 0 || !strings.Contains(said, "2 tests in ") {
		t.Errorf("the exit code is %d:\n%s", code, said)
	}
	if said, code := played(t, false, packages, "-run", "TestTypo"); code == 0 || !strings.Contains(said, "no test ran") {
		t.Errorf("a name that no test has: the exit code is %d:\n%s", code, said)
	}
}

// TestEndOfGoTest holds that what go test says in all is heeded, and that it says
// something of each package.
func TestEndOfGoTest(t *testing.T) {
	const began = `{"Action":"start","Package":"p"}{"Action":"run","Package":"p","Test":"TestX"}` +
		`{"Action":"pass","Package":"p","Test":"TestX"}`
	for _, c := range []struct {
		events string
		err    error
		want   int
	}{
		{began + `{"Action":"pass","Package":"p"}`, nil, 0},
		{began + `{"Action":"pass","Package":"p"}`, errors.New("signal: killed"), 1},
		{began, nil, 1},
	} {
		all := newTally([]share{{tests: map[string]int{"p": 1}}}, &screen{out: t.Output()})
		for _, line := range strings.SplitAfter(c.events, "}") {
			all.line(0, []byte(line))
		}
		if got := all.end(c.err); got != c.want {
			t.Errorf("%s, %v: the exit code is %d", c.events, c.err, got)
		}
	}
}

// TestAtOnce holds that each test is run once, whichever go test has it, that what fails
// in either is a failure with all that it printed, and that they do run side by side:
// each of two here waits for the other.
func TestAtOnce(t *testing.T) {
	const meets = `
func meet(t *testing.T, own, other string) {
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := os.Stat(other); err != nil; _, err = os.Stat(other) {
	}
}
func TestA(t *testing.T) { meet(t, "../a", "../b") }
func TestB(t *testing.T) { meet(t, "../b", "../a") }
`
	packages := map[string]string{"meet": meets, "more": fine + "func TestA(*testing.T) {}\n"}
	said, code := played(t, false, packages, "-at-once", "2", "-timeout", "1m")
	if code != 0 || !strings.Contains(said, "4 tests in ") {
		t.Errorf("the exit code is %d:\n%s", code, said)
	}
	for name, text := range map[string]string{
		"in the first":  "func TestA(t *testing.T) { t.Error(\"that is why\") }\nfunc TestB(*testing.T) {}\n",
		"in the second": "func TestA(*testing.T) {}\nfunc TestB(t *testing.T) { t.Error(\"that is why\") }\n",
		"in both":       "func TestA(*testing.T) { that_is_why() }\nfunc TestB(*testing.T) {}\n",
		"not read":      "func TestA(*testing.T) { that_is_why(\n",
	} {
		packages := map[string]string{"bad": text, "good": fine + "func TestC(*testing.T) {}\n"}
		said, code := played(t, false, packages, "-at-once", "2")
		if code == 0 || !strings.Contains(said, "FAIL play/bad\n") {
			t.Errorf("%s: the exit code is %d:\n%s", name, code, said)
		}
	}
	if said, code := played(t, false, packages, "-at-once", "2", "-run", "TestTypo"); code == 0 {
		t.Errorf("a name that no test has: the exit code is 0:\n%s", said)
	}
}
