// Package setup changes the machine, as netwatch init does: it writes the
// configuration for what was found (configuration.go), has others call netwatch
// (hooks.go), and takes out what netwatch replaces. It first plans everything (plan.go),
// then does it after a backup (apply.go), which says what was done (record.go), and can
// undo it (restore.go).
package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/packaging"
)

// Wish is what a Plan is to do beyond a first configuration.
type Wish struct {
	// Migrate takes out what is old.
	Migrate bool
	// Force replaces a configuration that somebody has written already.
	Force bool
	// Program is the path by which others are to call netwatch; empty is that of a
	// package.
	Program string
}

// A Change is one file that is to have another content.
type Change struct {
	// File is its name in the tree.
	File string
	// Before and After are its content; nil is no file.
	Before, After []byte
	// shown is what is said of it to the user.
	shown string
	// mode is that of a new file; 0 is newMode.
	mode uint32
	// calls says that by this change others call netwatch.
	calls bool
	// lines are what was put into a file of others so that it calls netwatch; none is
	// the whole file.
	lines []string
}

// A Plan is what is to be done to a machine, all of it to be shown first.
type Plan struct {
	tree machine.Tree
	// Changes are in the order in which they are made.
	Changes []Change
	// Differs is how the existing configuration, which stays, differs from what would
	// be written now: a unified diff.
	Differs []byte
	// Advice is what is left to do by hand, one thing on a line.
	Advice []string
	// Later are the drop-ins that netwatch grant writes.
	Later   []Later
	program string
}

// newMode is that of a new configuration, which holds no secret.
const newMode = 0o644

// NewPlan says what to do about what was found. file is the path of the
// configuration.
func NewPlan(tree machine.Tree, file string, m machine.Machine, wish Wish) (*Plan, error) {
	p := &Plan{tree: tree}
	text := []byte(Text(m))
	old, err := tree.Read(file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the configuration: %w", err)
	case len(text) == 0:
		return nil, noServer(m, file, bytes.Equal(old, packaging.Configuration))
	}
	inForce, anew := old, wish.Force || bytes.Equal(old, packaging.Configuration)
	switch {
	case err != nil || anew && !bytes.Equal(old, text):
		p.Changes, inForce = []Change{newConfig(file, old, text)}, text
	case !bytes.Equal(old, text):
		p.Differs = diff.Diff(file, old, "what netwatch init would write", text)
	}
	if wish.Migrate {
		if err := covered(file, inForce, m); err != nil {
			return nil, err
		}
		p.migrate(m)
	}
	p.callers(m, inForce, wish)
	return p, p.checkSudoers()
}

// noServer says that there is none to write a configuration for, and what to do. example
// says that the configuration is the package's, whose rule is for a coturn that is not here.
func noServer(m machine.Machine, file string, example bool) error {
	const looking = "looking for what depends on the network: "
	forbidden := slices.ContainsFunc(m.Unread, func(err error) bool { return errors.Is(err, fs.ErrPermission) })
	switch {
	case len(m.Contained) > 0:
		lines := Contained(m)
		if example {
			lines = append(lines, "and take the [[rule]] of the example out of "+file)
		}
		err := errors.New(looking + m.Contained[0].Server + " is here in a container alone")
		return netwatch.WithHint(err, strings.Join(lines, "; "))
	case len(m.Servers) > 0: // None of which is usable
		s := m.Servers[0]
		err := fmt.Errorf("%s%s with %s is left alone: %w", looking, s.Unit, s.File, s.Refused)
		return netwatch.WithHint(err, netwatch.Hint(s.Refused))
	case len(m.Idle) > 0 && !forbidden: // Else it may be one beside those in use
		i := m.Idle[0]
		err := fmt.Errorf("%s%s is left alone: %s", looking, i.Unit, i.Why)
		return netwatch.WithHint(err, i.Remedy+", then run this again")
	case len(m.Unread) > 0:
		return netwatch.WithHint(errors.New(looking+"there is no server that it knows, as far as could be seen"),
			"see above what was not seen, and why; root sees all")
	}
	return netwatch.WithHint(errors.New(looking+"there is no coturn, and no other server that it knows"),
		"run it where one is installed; for what else changes, write "+netwatch.ShellPath(file)+" by hand: netwatch.toml(5)")
}

// newConfig is the change that writes a configuration.
func newConfig(file string, old, text []byte) Change {
	return Change{File: file, Before: old, After: text, shown: string(diff.Diff(nameOr(old, file), old, file, text))}
}

func nameOr(old []byte, file string) string {
	if old == nil {
		return os.DevNull
	}
	return file
}

// covered refuses to take anything out that nothing replaces: the configuration must
// be right, and rotate each coturn that was found.
func covered(file string, text []byte, m machine.Machine) error {
	cfg, err := config.Parse(file, text, actions.Env{})
	if err != nil {
		return err
	}
	var files []string
	for _, r := range cfg.Needs().Rewrites {
		files = append(files, r.File)
	}
	for _, t := range m.Turns {
		if !slices.Contains(files, t.File) {
			return netwatch.WithHint(fmt.Errorf("taking out what is old: no rule of %s rotates %s", file, t.File),
				"add one, as netwatch init without --migrate shows it, or have the configuration written anew with --force")
		}
	}
	return nil
}

// now is the content of a file as far as it is planned; nil is no file.
func (p *Plan) now(file string) ([]byte, error) {
	for _, c := range p.Changes {
		if c.File == file {
			return c.After, nil
		}
	}
	text, err := p.tree.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return text, err
}

// migrate plans to take out what is old: first what calls, then what is called.
func (p *Plan) migrate(m machine.Machine) {
	for _, o := range m.Old {
		if o.Kept != "" {
			continue
		}
		c := Change{File: o.File, Before: o.Text, After: o.Rest, shown: o.Shown()}
		for _, instead := range o.Instead {
			c.calls = c.calls || instead != ""
			if instead != "" && strings.TrimSpace(string(o.Rest)) != instead {
				c.lines = append(c.lines, instead+"\n")
			}
		}
		p.Changes = append(p.Changes, c)
	}
}

// checkSudoers has visudo, if it is installed, check what sudo is to read: a mistake
// in it would leave nobody with sudo.
func (p *Plan) checkSudoers() error {
	visudo, err := exec.LookPath("visudo")
	if err != nil {
		return nil //nolint:nilerr // Without it only whole lines go, which can leave no mistake that was not there.
	}
	for _, c := range p.Changes {
		if strings.HasPrefix(c.File, "/etc/sudoers") && c.After != nil {
			if err := visudoAccepts(visudo, c.After); err != nil {
				return fmt.Errorf("checking what %s would be: %w", c.File, err)
			}
		}
	}
	return nil
}

func visudoAccepts(visudo string, text []byte) error {
	f, err := os.CreateTemp("", "netwatch-sudoers")
	if err != nil {
		return err
	}
	defer func() { _, _ = f.Close(), os.Remove(f.Name()) }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if out, err := exec.Command(visudo, "-cf", f.Name()).CombinedOutput(); err != nil {
		return netwatch.WithHint(fmt.Errorf("visudo refuses it: %s", bytes.TrimSpace(out)),
			"put the file right with visudo first")
	}
	return nil
}

// Print shows what is to be done. Of a file that may hold secrets it shows only the
// lines that go and come.
func (p *Plan) Print(w io.Writer) {
	for _, c := range p.Changes {
		fmt.Fprintf(w, "\n%s %s\n%s", c.verb(), netwatch.Printable(c.File), c.shown)
	}
	for _, l := range p.Later {
		l.print(w)
	}
}

// verb says what becomes of the file.
func (c Change) verb() string {
	switch {
	case c.Before == nil:
		return "write"
	case c.After == nil:
		return "remove"
	}
	return "change"
}
