package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManualLevels holds that netwatch(8) says of every level what it means, and of no
// other.
func TestManualLevels(t *testing.T) {
	manual, err := os.ReadFile("../docs/netwatch.8")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(manual), "\nThe levels are\n")
	part, _, _ = strings.Cut(part, "\n.El\n")
	var written []Level
	for _, item := range regexp.MustCompile(`(?m)^\.It Cm (\w+)$`).FindAllStringSubmatch(part, -1) {
		written = append(written, Level(item[1]))
	}
	if diff := cmp.Diff(levels(t), written); diff != "" {
		t.Errorf("the program (-) and netwatch(8) (+):\n%s", diff)
	}
}

// levels are the constants of type Level.
func levels(t *testing.T) (all []Level) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doctor.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, is := n.(*ast.ValueSpec); is {
			if kind, is := v.Type.(*ast.Ident); is && kind.Name == "Level" {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				all = append(all, Level(text))
			}
		}
		return true
	})
	return all
}
