package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manualPart is what netwatch(8) says between two lines, each at its first place
// after the one before.
func manualPart(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/netwatch.8")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), from)
	part, _, ends := strings.Cut(rest, to)
	if !begins || !ends {
		t.Fatalf("netwatch(8) has nothing between %q and %q", from, to)
	}
	return part
}

var (
	// commandWord and flagWord are a command and what it takes, in the synopsis.
	commandWord = regexp.MustCompile(`(?m)^\.Cm ([a-z ]+)$`)
	flagWord    = regexp.MustCompile(`\bFl -?([a-z-]+)`)
)

// synopsis is each command of netwatch(8) with its flags.
func synopsis(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, one := range strings.Split(manualPart(t, "\n.Sh SYNOPSIS\n", "\n.Sh "), ".Nm\n")[1:] {
		name := commandWord.FindStringSubmatch(one)
		if name == nil {
			t.Fatalf("this begins with no command:\n%s", one)
		}
		all[name[1]] = append(all[name[1]], firsts(flagWord.FindAllStringSubmatch(one, -1))...)
	}
	return all
}

func firsts(matches [][]string) []string {
	all := []string{}
	for _, m := range matches {
		all = append(all, m[1])
	}
	return all
}

// commands is each command that a user may see, with its own flags, by both of
// their names where they have two.
func commands(parent *cobra.Command) map[string][]string {
	all := map[string][]string{}
	for _, cmd := range parent.Commands() {
		if cmd.Hidden {
			continue
		}
		if cmd.HasSubCommands() {
			maps.Copy(all, commands(cmd))
			continue
		}
		path := strings.TrimPrefix(cmd.CommandPath(), "netwatch ")
		all[path] = []string{}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				all[path] = append(all[path], strings.Fields(f.Shorthand+" "+f.Name)...)
			}
		})
	}
	return all
}

// TestManualCommands holds that netwatch(8) has every command with every flag, in
// its synopsis and with words, and no other.
func TestManualCommands(t *testing.T) {
	known := commands((&command{}).root())
	written := synopsis(t)
	delete(written, "completion") // cobra's own, which is there when the program runs
	for _, all := range []map[string][]string{known, written} {
		for name := range all {
			slices.Sort(all[name])
			all[name] = slices.Compact(all[name])
		}
	}
	if diff := cmp.Diff(known, written, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the program (-) and the synopsis of netwatch(8) (+):\n%s", diff)
	}
	words := manualPart(t, "\nThe commands are:\n", "\n.Sh STEPS")
	for name, flags := range known {
		if !strings.Contains(words, "\n.It Cm "+name) {
			t.Errorf("netwatch(8) does not say what %s does", name)
		}
		for _, flag := range flags {
			if flag != "json" && !regexp.MustCompile(`\bFl -?(\w , -)?`+flag+`\b`).MatchString(words) {
				t.Errorf("netwatch(8) does not say what --%s of %s does", flag, name)
			}
		}
	}
}

// TestManualFlagsOfAll holds the same of the flags that every command takes.
func TestManualFlagsOfAll(t *testing.T) {
	part := manualPart(t, "\nEvery command takes\n", "\n.El\n")
	(&command{}).root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(part, ".It Fl "+f.Shorthand+" , -"+f.Name+" ") {
			t.Errorf("netwatch(8) lacks --%s", f.Name)
		}
	})
}

// TestManualExitStatus holds that netwatch(8) has every exit code, and no other.
func TestManualExitStatus(t *testing.T) {
	items := regexp.MustCompile(`(?m)^\.It ([0-9]+)$`)
	written := firsts(items.FindAllStringSubmatch(manualPart(t, "\n.Sh EXIT STATUS\n", "\n.Sh "), -1))
	if diff := cmp.Diff(append([]string{"0"}, exitCodes(t)...), written); diff != "" {
		t.Errorf("the program (-) and netwatch(8) (+):\n%s", diff)
	}
}

// exitCodes are the constants of this package that are called exit....
func exitCodes(t *testing.T) (codes []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if v, is := n.(*ast.ValueSpec); is && strings.HasPrefix(v.Names[0].Name, "exit") && len(v.Values) == 1 {
				if number, is := v.Values[0].(*ast.BasicLit); is && number.Kind == token.INT {
					codes = append(codes, number.Value)
				}
			}
			return true
		})
	}
	slices.Sort(codes)
	return codes
}
