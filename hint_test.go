package netwatch_test

import (
	"errors"
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"netwatch"
)

// Of hints around each other the outermost counts; errors that were joined have each
// its own.
func TestHint(t *testing.T) {
	inner := netwatch.WithHint(errors.New("a"), "one")
	outer := netwatch.WithHint(fmt.Errorf("doing: %w", inner), "two")
	other := netwatch.WithHint(errors.New("b"), "three")
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"none":              {errors.New("x"), []string{"x: "}},
		"one":               {fmt.Errorf("doing: %w", inner), []string{"doing: a: one"}},
		"one in another":    {outer, []string{"doing: a: two"}},
		"joined":            {errors.Join(outer, nil, other, errors.New("c")), []string{"doing: a: two", "b: three", "c: "}},
		"joined twice":      {errors.Join(errors.Join(inner, other), outer), []string{"a: one", "b: three", "doing: a: two"}},
		"of several causes": {fmt.Errorf("%w: %w", inner, other), []string{"a: b: one"}},
		"joined, and more":  {netwatch.WithHint(errors.Join(inner, other), "all"), []string{"a\nb: all"}},
	} {
		var got []string
		for _, part := range netwatch.Parts(c.err) {
			got = append(got, part.Error()+": "+netwatch.Hint(part))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestOnePlaceForHints holds that a remedy is in no error's text and in no other
// remedy: those who print put the word before it, so that there is one for an error.
func TestOnePlaceForHints(t *testing.T) {
	printed := 0
	for _, file := range sourcesOf(t, isProgram) {
		top, _, _ := strings.Cut(file.path, "/")
		if noProgram[top] {
			continue
		}
		ast.Inspect(file.File, func(n ast.Node) bool {
			text, is := n.(*ast.BasicLit)
			if !is || !strings.Contains(text.Value, "hint: ") {
				return true
			}
			printed++
			if top != "cmd" && file.path != "control/control.go" {
				t.Errorf("%s: %s has a remedy in it, which netwatch.WithHint adds to an error", file.at(n.Pos()), text.Value)
			}
			return true
		})
	}
	if printed == 0 {
		t.Error("nobody prints a remedy at all")
	}
}
