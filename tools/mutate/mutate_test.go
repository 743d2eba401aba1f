package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program has something of each kind, with what becomes of it.
const program = `package p

import "time"

const limit = 2 + 1

func Big(n int) bool { return n > limit }

func Some(n int) bool {
	if n < 0 {
		return false
	}
	return n > 0
}

func Never(a, b string) bool { return a + b == "" }

func Sum(all ...int) (sum int) {
	for i := 0; i < len(all); i++ {
		sum += all[i]
		note(-1)
	}
	return sum
}

func note(int) {}

func Wait() time.Duration { return time.Second * 2 / limit }

func Nested(a, b int) bool { return (a > b) == (a-b > 0) }
`

const tests = `package p

import "testing"

func TestBig(t *testing.T) {
	if Big(3) || !Big(4) {
		t.Fail()
	}
}

func TestSome(*testing.T) { Some(1) }

func TestSum(t *testing.T) {
	if Sum(1, 2) != 3 || Nested(1, 1) != true || Nested(2, 1) != true || Wait() <= 0 {
		t.Fail()
	}
}
`

// fates is what becomes of the mutants.
const fates = `7 boundary: n > limit => n >= limit: killed
7 negation: n > limit => n <= limit: killed
10 boundary: n < 0 => n <= 0: the same
10 negation: n < 0 => n >= 0: lived
11 return: false => true: not covered
13 boundary: n > 0 => n >= 0: lived
13 negation: n > 0 => n <= 0: lived
16 negation: a + b == "" => a + b != "": not covered
19 boundary: i < len(all) => i <= len(all): killed
19 negation: i < len(all) => i >= len(all): killed
19 step: i++ => i--: killed
20 arithmetic: sum += all[i] => sum -= all[i]: killed
21 call: note(-1) => : lived
21 sign: -1 => +1: lived
28 arithmetic: time.Second * 2 / limit => time.Second * 2 * limit: lived
28 arithmetic: time.Second * 2 => time.Second / 2: lived
30 negation: (a > b) == (a-b > 0) => (a > b) != (a-b > 0): killed
30 boundary: a > b => a >= b: killed
30 negation: a > b => a <= b: killed
30 boundary: a-b > 0 => a-b >= 0: killed
30 negation: a-b > 0 => a-b <= 0: killed
30 arithmetic: a-b => a+b: killed
`

// Each mutant is made, those are killed that a test sees, and what no test gets to is said.
func TestMutants(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module play\n\ngo 1.26\n", "p/p.go": program, "p/p_test.go": tests,
		equalFile: "p/p.go: n < 0 => n <= 0\n\tSo it is told here.\np/p.go: n > limit => n >= limit\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	*seeds = 0
	mutants, err := try("p", t.TempDir())
	if err == nil || err.Error() != equalFile+" has p/p.go: n > limit => n >= limit, which does not live" {
		t.Errorf("of one that is listed and does not live it says %v", err)
	}
	got := ""
	for _, m := range mutants {
		got += fmt.Sprintf("%d %s: %s => %s: %s\n", m.line, m.kind, m.from, m.to, fate(m))
	}
	if diff := cmp.Diff(strings.Split(fates, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

// fate is what became of a mutant.
func fate(m *mutant) string {
	switch {
	case m.killed:
		return "killed"
	case m.equal:
		return "the same"
	case m.covered:
		return "lived"
	}
	return "not covered"
}
