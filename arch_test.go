package netwatch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the import path that all packages of ours begin with.
const module = "netwatch"

// mayImport says for each top folder ("." is the root package) which others
// its packages may import, beside those of their own folder. Data flows from
// sources over hooks to actions, so neither end knows the middle, and config,
// which knows all three, is known to those alone who make something of it.
var mayImport = map[string][]string{
	".":       {},
	"sources": {".", "stunmsg"},
	"access":  {"."},
	"rewrite": {".", "access"},
	"systemd": {".", "access"},
	// What a server's file says is a text, and who it is for.
	"servers": {".", "access", "edit", "rewrite"},
	// One value in a text.
	"edit": {"."},
	// One question in STUN, and who asks a TURN server.
	"stunmsg": {},
	"turn":    {".", "servers", "stunmsg"},
	// Who asks LiveKit.
	"whip":    {},
	"actions": {".", "access", "rewrite", "servers", "systemd", "turn", "whip"},
	"state":   {"."},
	// What was.
	"history": {".", "access"},
	// What it comes to.
	"report":  {".", "history"},
	"helper":  {".", "access", "servers"},
	"hooks":   {".", "state"},
	"control": {".", "access", "history", "hooks", "state"},
	"config":  {".", "sources", "actions", "hooks", "servers"},
	// What is installed here is files, and what systemd runs, whatever the configuration
	// says of them.
	"machine": {".", "servers", "systemd"},
	"setup":   {".", "access", "config", "rewrite", "sources", "actions", "machine", "packaging", "contrib"},
	"doctor": {
		".", "config", "actions", "control", "servers", "sources", "systemd", "turn", "machine",
		"packaging",
	},
	// What an installation brings.
	"packaging": {},
	"contrib":   {},
	"daemon":    {".", "sources", "actions", "servers", "state", "history", "hooks", "control", "config"},
	"grant":     {".", "sources", "actions", "config", "helper", "access", "rewrite", "servers", "systemd"},
	"cmd": {
		".", "sources", "actions", "hooks", "control", "config", "daemon", "grant", "helper", "setup", "doctor", "machine",
		"access", "servers", "history", "report",
	},
	// The lab uses the command as a program only, and so do what shows and what
	// measures, less a thousand machines in one process; nothing imports these two.
	"lab":   {".", "state", "control", "servers", "turn", "whip"},
	"demo":  {".", "sources", "lab"},
	"bench": {".", "control", "lab", "sources"},
	// The world in which the daemon is simulated touches what the daemon touches it with.
	"simulate": {
		".", "actions", "control", "daemon", "rewrite", "servers", "sources", "state", "systemd", "turn",
	},
	// What the Makefile runs is for any module.
	"tools": {},
}

// A pkg is what go list says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImports(t *testing.T) {
	packages := listPackages(t)
	for _, folder := range []string{
		".", "sources", "actions", "systemd", "turn", "stunmsg", "hooks", "config", "daemon", "grant", "cmd",
	} {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return folderOf(p.ImportPath) == folder }) {
			t.Errorf("go list shows no package in %s, so nothing about it was tested", folder)
		}
	}
	for _, p := range packages {
		for _, wrong := range p.wrongImports() {
			t.Error(wrong)
		}
	}
}

// TestDrawnAlike holds that whatever a test draws is drawn alike in every run.
func TestDrawnAlike(t *testing.T) {
	const draws, alike = "pgregory.net/rapid", module + "/lab/drawn"
	drawing := 0
	for _, p := range listPackages(t) {
		tests := slices.Concat(p.TestImports, p.XTestImports)
		if !slices.Contains(tests, draws) || p.ImportPath == alike {
			continue
		}
		drawing++
		if !slices.Contains(tests, alike) {
			t.Errorf("%s: no test imports %s, so each run draws something else", p.ImportPath, alike)
		}
	}
	if drawing == 0 {
		t.Error("nobody draws at all")
	}
}

// TestDaemonIsKnownToFew holds that the daemon can be imported by what is run alone:
// nothing that it is made of may need it.
func TestDaemonIsKnownToFew(t *testing.T) {
	for folder, imports := range mayImport {
		run := []string{"cmd", "bench", "demo", "lab", "simulate"}
		if slices.Contains(imports, "daemon") && !slices.Contains(run, folder) {
			t.Errorf("%s may import the daemon", folder)
		}
	}
}

// TestHelperIsAlone holds that what root does for the daemon has nothing in it that
// talks to the bus or to a network: it is systemd's socket and files.
func TestHelperIsAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./helper").Output()
	if err != nil || !strings.Contains(string(out), "netwatch/rewrite\n") {
		t.Fatalf("listing what the helper needs: %v\n%s", err, out)
	}
	for _, path := range []string{
		"net/http", "crypto/tls", "github.com/godbus", "github.com/pion", "netwatch/actions",
		"netwatch/sources",
	} {
		if strings.Contains("\n"+string(out), "\n"+path) {
			t.Errorf("the helper needs %s", path)
		}
	}
}

// TestOneWayToTheBus holds that systemd/ alone speaks D-Bus, with what plays its other
// end: verbs know units, and no bus.
func TestOneWayToTheBus(t *testing.T) {
	speaks := 0
	for _, p := range listPackages(t) {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if !strings.HasPrefix(path, "github.com/godbus/") {
				continue
			}
			speaks++
			if folderOf(p.ImportPath) != "systemd" {
				t.Errorf("%s imports %s, which is for systemd/ alone", p.ImportPath, path)
			}
		}
	}
	if speaks == 0 {
		t.Error("nobody speaks D-Bus at all")
	}
}

// listPackages is every package of the module, with the files of the lab. What
// does not compile is listed too (-e): other tests say that.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-e", "-tags", "lab,debian",
		"-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("listing the packages: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("reading what go list says: %v", err)
		}
		all = append(all, p)
	}
}

// wrongImports lists the imports that mayImport does not allow. Tests may
// import the lab as well.
func (p pkg) wrongImports() []string {
	from := folderOf(p.ImportPath)
	allowed, known := mayImport[from]
	if !known {
		return []string{fmt.Sprintf("%s: folder %s is not in mayImport", p.ImportPath, from)}
	}
	allowed = append(slices.Clone(allowed), from)
	wrong := outside(p.ImportPath, p.Imports, allowed)
	return append(wrong, outside(p.ImportPath, slices.Concat(p.TestImports, p.XTestImports), append(allowed, "lab"))...)
}

func outside(importer string, imports, allowed []string) []string {
	var wrong []string
	for _, path := range imports {
		if folder := folderOf(path); folder != "" && !slices.Contains(allowed, folder) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s, and may import of ours only %s", importer, path,
				strings.Join(allowed, " ")))
		}
	}
	return wrong
}

// folderOf is the top folder of a package of ours, or empty for others.
func folderOf(path string) string {
	if path == module {
		return "."
	}
	rest, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

// TestNobodyAsksForTypes holds that verbs and kinds of sources are known to others by
// what they say of themselves alone, so that a new one is one file and one line: no
// assertion outside names a type of theirs that is no interface.
func TestNobodyAsksForTypes(t *testing.T) {
	interfaces := map[string]bool{}
	asserted := map[string][]token.Position{} // Of folder.Type
	for _, file := range sourcesOf(t, isProgram) {
		ast.Inspect(file.File, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				_, is := spec.Type.(*ast.InterfaceType)
				interfaces[filepath.Dir(file.path)+"."+spec.Name.Name] = is
			}
			for _, name := range assertions(n) {
				asserted[name] = append(asserted[name], file.at(n.Pos()))
			}
			return true
		})
	}
	for name, places := range asserted {
		if !interfaces[name] {
			t.Errorf("%v asks for %s, which should say itself what is wanted of it", places, name)
		}
	}
	if len(asserted) == 0 {
		t.Error("nobody asks for anything at all")
	}
}

// assertions are the types of actions and sources that a type assertion, or a case of
// a type switch, names.
func assertions(n ast.Node) (names []string) {
	var types []ast.Expr
	switch n := n.(type) {
	case *ast.TypeAssertExpr:
		types = []ast.Expr{n.Type}
	case *ast.TypeSwitchStmt:
		for _, clause := range n.Body.List {
			types = append(types, clause.(*ast.CaseClause).List...)
		}
	}
	for _, e := range types {
		if star, ok := e.(*ast.StarExpr); ok {
			e = star.X
		}
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "actions" || x.Name == "sources") {
			names = append(names, x.Name+"."+sel.Sel.Name)
		}
	}
	return names
}

// TestSleep holds that tests wait for what they wait for: to sleep is allowed
// in a synctest bubble alone, where it moves the clock.
func TestSleep(t *testing.T) {
	for _, file := range sourcesOf(t, isTest) {
		for _, pos := range sleeps(file.File) {
			t.Errorf("%s: time.Sleep in a test outside synctest.Test", file.at(pos))
		}
	}
}

// sleeps finds every use of time.Sleep that is not inside a call of synctest.Test.
func sleeps(file *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isName(call.Fun, "synctest", "Test") {
			return false
		}
		if expr, ok := n.(ast.Expr); ok && isName(expr, "time", "Sleep") {
			found = append(found, expr.Pos())
		}
		return true
	})
	return found
}

// isName says whether e is pkg.name.
func isName(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// noProgram are the folders whose programs are for who works on netwatch.
var noProgram = map[string]bool{"lab": true, "demo": true, "bench": true, "simulate": true, "tools": true}

// TestOnePlaceToPrint holds that all that is printed goes through the one place that
// makes it harmless to a terminal: nobody else has standard output or error.
func TestOnePlaceToPrint(t *testing.T) {
	const place = "cmd/netwatch/output.go"
	const log = "daemon/log.go" // Has what other packages log go the same way
	given := 0
	for _, file := range sourcesOf(t, isProgram) {
		if top, _, _ := strings.Cut(file.path, "/"); noProgram[top] {
			continue
		}
		for _, n := range prints(file.File) {
			if _, imports := n.(*ast.ImportSpec); file.path != place && !(imports && file.path == log) {
				t.Errorf("%s: it prints around %s", file.at(n.Pos()), place)
			}
			given++
		}
	}
	if given == 0 {
		t.Error("nobody prints at all")
	}
}

// prints finds what leads to standard output or error: the files, their descriptors
// and those functions that take none.
func prints(file *ast.File) []ast.Node {
	names := map[string][]string{
		"os": {"Stdout", "Stderr"}, "fmt": {"Print", "Printf", "Println"},
		"syscall": {"Stdout", "Stderr"}, "unix": {"Stdout", "Stderr"},
	}
	var found []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			for pkg, all := range names {
				if slices.ContainsFunc(all, func(name string) bool { return isName(n, pkg, name) }) {
					found = append(found, n)
				}
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
				found = append(found, n)
			}
		case *ast.ImportSpec:
			if n.Path.Value == `"log"` || n.Path.Value == `"log/slog"` {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}
