package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestLanguageOf(t *testing.T) {
	for _, c := range []struct{ all, messages, lang, want string }{
		{"", "", "", "en"},
		{"", "", "C.UTF-8", "en"},
		{"", "", "fr_FR.UTF-8", "fr"},
		{"", "", "fr", "fr"},
		{"", "", "fr@euro", "fr"},
		{"", "", "frp_FR", "en"},
		{"", "fr_BE.UTF-8", "de_BE.UTF-8", "fr"},
		{"", "en_GB.UTF-8", "fr_FR.UTF-8", "en"},
		{"C", "fr_FR.UTF-8", "fr_FR.UTF-8", "en"},
		{"fr_CA", "C", "C", "fr"},
	} {
		got := LanguageOf(func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_MESSAGES": c.messages, "LANG": c.lang}[name]
		})
		if got.String() != c.want {
			t.Errorf("%+v: it is %s", c, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		seconds         float64
		english, french string
	}{
		{0, "0.0 s", "0,0 s"},
		{0.04, "0.04 s", "0,04 s"},
		{1.24, "1.2 s", "1,2 s"},
		{9.96, "10 s", "10 s"},
		{59.7, "1 min", "1 min"},
		{61, "1 min 1 s", "1 min 1 s"},
		{3570, "1 h", "1 h"},
		{3700, "1 h 2 min", "1 h 2 min"},
		{86399, "24 h", "24 h"},
		{2 * 86400, "2 d", "2 j"},
		{86400*9 - 1, "9 d", "9 j"},
		{86400*9.5 + 1, "9 d 12 h", "9 j 12 h"},
	} {
		if got := english.duration(c.seconds); got != c.english {
			t.Errorf("%g: %s", c.seconds, got)
		}
		if got := inFrench.duration(c.seconds); got != c.french {
			t.Errorf("%g: %s", c.seconds, got)
		}
	}
}

// TestFrenchIsWhole holds that all that is said is said in French too, with the same in
// it, and that nothing is there that is not said.
func TestFrenchIsWhole(t *testing.T) {
	said := said(t)
	verb := regexp.MustCompile(`%[a-z%]`)
	for text := range said {
		in, there := french[text]
		if !there {
			t.Errorf("there is no French for %q", text)
		}
		if a, b := verb.FindAllString(text, -1), verb.FindAllString(in, -1); strings.Join(a, " ") != strings.Join(b, " ") {
			t.Errorf("%q has %q in it, and in French %q", text, a, b)
		}
	}
	for text := range french {
		if !said[text] {
			t.Errorf("%q is never said", text)
		}
	}
	if len(said) < 100 {
		t.Errorf("only %d texts were found", len(said))
	}
}

// said are all texts that the room has said in the reader's language.
func said(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, names := range [][]string{weekdays[:], shortWeekdays[:], shortMonths[:]} {
		for _, name := range names {
			all[name] = true
		}
	}
	for _, call := range regexp.MustCompile(`\bt "([^"]*)"`).FindAllStringSubmatch(pageText, -1) {
		all[call[1]] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no sources", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			ast.Inspect(parsed, func(n ast.Node) bool {
				for _, text := range saidBy(n) {
					all[text] = true
				}
				return true
			})
		}
	}
	return all
}

// saidBy are the texts of a call of t or n.
func saidBy(n ast.Node) (texts []string) {
	call, is := n.(*ast.CallExpr)
	if !is {
		return nil
	}
	f, is := call.Fun.(*ast.SelectorExpr)
	if !is || f.Sel.Name != "t" && f.Sel.Name != "n" {
		return nil
	}
	from, until := 0, 1
	if f.Sel.Name == "n" {
		from, until = 1, 3
	}
	for _, arg := range call.Args[from:until] {
		if text, is := constant(arg); is {
			texts = append(texts, text)
		}
	}
	return texts
}

// constant is the text of a literal, or of several that are joined.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		a, is := constant(e.X)
		b, too := constant(e.Y)
		return a + b, is && too
	}
	return "", false
}
