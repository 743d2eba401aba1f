package netwatch_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// small are names that a comment may begin with, spelt as their owners spell them.
var small = []string{
	"cobra's", "coturn", "goleak", "netwatch", "nsenter", "nspawn", "polkit", "setfsuid", "sudoers", "systemd", "zerolog",
}

// TestCommentsBeginAlike holds that comments inside functions, be they on a line of
// their own or behind code, begin with a capital.
func TestCommentsBeginAlike(t *testing.T) {
	seen := 0
	for _, file := range sourcesOf(t, func(string) bool { return true }) {
		for _, c := range insideFunctions(file.File) {
			seen++
			if beginsSmall(c.Text) {
				t.Errorf("%s: %s: it begins with a small letter", file.at(c.Pos()), c.Text)
			}
		}
	}
	if seen < 100 {
		t.Errorf("there are only %d comments to read", seen)
	}
}

// insideFunctions finds the first line of each comment inside a function.
func insideFunctions(file *ast.File) []*ast.Comment {
	var bodies []*ast.BlockStmt
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			bodies = append(bodies, n.Body)
		case *ast.FuncLit:
			bodies = append(bodies, n.Body)
		}
		return true
	})
	var found []*ast.Comment
	for _, group := range file.Comments {
		if slices.ContainsFunc(bodies, func(b *ast.BlockStmt) bool {
			return b != nil && b.Lbrace < group.Pos() && group.End() <= b.Rbrace
		}) {
			found = append(found, group.List[0])
		}
	}
	return found
}

// beginsSmall says whether the first word of a comment is one that should have a
// capital. Code, numbers, pages of manuals and the names in small should not.
func beginsSmall(comment string) bool {
	if directive, reason, ok := strings.Cut(comment, " // "); ok && strings.HasPrefix(directive, "//nolint:") {
		comment = reason
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(comment, "// "), " ")
	word := strings.TrimRight(first, ".,:;")
	plain := !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' && r != '-' })
	return plain && word != "" && unicode.IsLower([]rune(word)[0]) && !slices.Contains(small, word)
}
