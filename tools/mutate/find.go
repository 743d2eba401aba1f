package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A mutant is the program with one thing in it wrong.
type mutant struct {
	id       int
	kind     string
	file     string // From the root of the module
	line     int
	from, to string // As they are printed
	text     string // What stands in its place

	covered, killed, simulated, equal bool
}

// String is a line for people.
func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d: %s: %s => %s", m.file, m.line, m.kind, m.from, m.to)
}

// A place is a part of a file that has mutants.
type place struct {
	start, end int
	// value is the type of what the place is; a statement has none.
	value   string
	mutants []*mutant
}

// A pack is a package and its mutants.
type pack struct {
	name    string
	fset    *token.FileSet
	types   *types.Package
	info    *types.Info
	files   map[string]*file
	mutants []*mutant
	overlay string
}

// A file is one of its files.
type file struct {
	name   string // From the root of the module
	text   []byte
	tree   *ast.File
	places []place
}

// load reads a package and finds its mutants.
func load(name string) (*pack, error) {
	p := &pack{name: name, fset: token.NewFileSet(), files: map[string]*file{}}
	p.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	names, imports, err := listed(name)
	if err != nil {
		return nil, err
	}
	var trees []*ast.File
	for _, base := range names {
		f := &file{name: filepath.Join(name, base)}
		if f.text, err = os.ReadFile(f.name); err == nil {
			f.tree, err = parser.ParseFile(p.fset, f.name, f.text, parser.SkipObjectResolution)
		}
		if err != nil {
			return nil, err
		}
		p.files[f.name] = f
		trees = append(trees, f.tree)
	}
	config := types.Config{Importer: importer.ForCompiler(p.fset, "gc", imports)}
	if p.types, err = config.Check(name, p.fset, trees, p.info); err != nil {
		return nil, err
	}
	for _, base := range names {
		p.find(p.files[filepath.Join(name, base)])
	}
	return p, nil
}

// listed is which files a package has, and what the compiler said of what it imports.
func listed(name string) (files []string, imports importer.Lookup, err error) {
	out, err := exec.Command("go", "list", "-tags", *tags, "-export", "-deps", "-json=Export,ImportPath,GoFiles",
		"./"+name).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("listing it: %w", err)
	}
	export := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one struct {
			Export, ImportPath string
			GoFiles            []string
		}
		if err := dec.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("reading what go list says: %w", err)
		}
		export[one.ImportPath] = one.Export
		files = one.GoFiles // It comes last itself.
	}
	return files, func(path string) (io.ReadCloser, error) { return os.Open(export[path]) }, nil
}

// find finds the mutants of a file.
func (p *pack) find(f *file) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok != token.CONST // What must be constant can be no choice.
		case *ast.ArrayType:
			return n.Len == nil
		case *ast.BinaryExpr:
			p.binary(f, n)
		case *ast.UnaryExpr:
			if n.Op == token.SUB {
				p.value(f, n, alternative{"sign", p.with(f, n, n.OpPos, n.Op, token.ADD)})
			}
		case *ast.IncDecStmt:
			p.statement(f, n, alternative{"step", p.with(f, n, n.TokPos, n.Tok, opposite[n.Tok])})
		case *ast.AssignStmt:
			p.assign(f, n)
		case *ast.ReturnStmt:
			p.returned(f, n)
		case *ast.ExprStmt:
			if call, is := n.X.(*ast.CallExpr); is && !isPanic(call) {
				p.statement(f, n, alternative{"call", ""})
			}
		}
		return true
	})
}

// An alternative is a text that could stand in a place.
type alternative struct{ kind, text string }

// opposite is what an operator is taken for, or none.
var opposite = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LSS: token.GEQ, token.GEQ: token.LSS,
	token.GTR: token.LEQ, token.LEQ: token.GTR,
	token.ADD: token.SUB, token.SUB: token.ADD,
	token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL,
	token.INC: token.DEC, token.DEC: token.INC,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN,
	token.MUL_ASSIGN: token.QUO_ASSIGN, token.QUO_ASSIGN: token.MUL_ASSIGN,
}

// beside is the comparison that differs in the boundary alone.
var beside = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
}

// binary finds the mutants of an operation on two values.
func (p *pack) binary(f *file, n *ast.BinaryExpr) {
	var all []alternative
	if to, is := beside[n.Op]; is {
		all = append(all, alternative{"boundary", p.with(f, n, n.OpPos, n.Op, to)})
	}
	if to, is := opposite[n.Op]; is {
		kind := "negation"
		if !comparison(n.Op) {
			kind = "arithmetic"
		}
		all = append(all, alternative{kind, p.with(f, n, n.OpPos, n.Op, to)})
	}
	p.value(f, n, all...)
}

// comparison says whether an operator compares.
func comparison(op token.Token) bool {
	return op == token.EQL || op == token.NEQ || op >= token.LSS && op <= token.GTR || op == token.LEQ || op == token.GEQ
}

// assign finds the mutants of what adds to a number.
func (p *pack) assign(f *file, n *ast.AssignStmt) {
	to, is := opposite[n.Tok]
	if !is {
		return
	}
	if basic, is := p.info.TypeOf(n.Lhs[0]).Underlying().(*types.Basic); is && basic.Info()&types.IsNumeric != 0 {
		p.statement(f, n, alternative{"arithmetic", p.with(f, n, n.TokPos, n.Tok, to)})
	}
}

// returned finds the mutants of a return that says yes or no.
func (p *pack) returned(f *file, n *ast.ReturnStmt) {
	for _, result := range n.Results {
		name, is := result.(*ast.Ident)
		if !is || p.info.Uses[name] == nil || p.info.Uses[name].Parent() != types.Universe {
			continue
		}
		switch name.Name {
		case "true":
			p.value(f, name, alternative{"return", "false"})
		case "false":
			p.value(f, name, alternative{"return", "true"})
		}
	}
}

// isPanic says whether a call does not return.
func isPanic(call *ast.CallExpr) bool {
	name, is := call.Fun.(*ast.Ident)
	return is && name.Name == "panic"
}

// with is the text of a node with another operator.
func (p *pack) with(f *file, n ast.Node, at token.Pos, op, to token.Token) string {
	start, end, here := p.offset(n.Pos()), p.offset(n.End()), p.offset(at)
	return string(f.text[start:here]) + to.String() + string(f.text[here+len(op.String()):end])
}

func (p *pack) offset(pos token.Pos) int { return p.fset.Position(pos).Offset }

// value notes the mutants of an expression that the compiler takes.
func (p *pack) value(f *file, n ast.Expr, all ...alternative) {
	name, is := p.typeName(f, p.info.TypeOf(n))
	if !is {
		return
	}
	viable := all[:0]
	for _, a := range all {
		if _, err := types.Eval(p.fset, p.types, n.Pos(), a.text); err == nil {
			viable = append(viable, a)
		}
	}
	p.note(f, n, name, viable)
}

// typeName is how a type is called in a file, if it can be there.
func (p *pack) typeName(f *file, t types.Type) (name string, is bool) {
	is = true
	name = types.TypeString(types.Default(t), func(other *types.Package) string {
		if other == p.types {
			return ""
		}
		for _, imported := range f.tree.Imports {
			if strings.Trim(imported.Path.Value, `"`) != other.Path() {
				continue
			}
			if imported.Name != nil {
				return imported.Name.Name
			}
			return other.Name()
		}
		is = false
		return ""
	})
	return name, is
}

// statement notes the mutant of a statement.
func (p *pack) statement(f *file, n ast.Stmt, a alternative) { p.note(f, n, "", []alternative{a}) }

// note notes the mutants of a node.
func (p *pack) note(f *file, n ast.Node, value string, all []alternative) {
	if len(all) == 0 {
		return
	}
	here := place{start: p.offset(n.Pos()), end: p.offset(n.End()), value: value}
	for _, a := range all {
		m := &mutant{
			id: len(p.mutants) + 1, kind: a.kind, file: f.name, line: p.fset.Position(n.Pos()).Line,
			from: oneLine(string(f.text[here.start:here.end])), to: oneLine(a.text), text: a.text,
		}
		p.mutants = append(p.mutants, m)
		here.mutants = append(here.mutants, m)
	}
	f.places = append(f.places, here)
}

// oneLine is a text in one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
