// Package setup changes the machine that netwatch is to work on, as netwatch init
// does: the configuration for what was found there (configuration.go) and what
// netwatch replaces, all of it planned first (plan.go), then done after a backup
// (apply.go), and undone (restore.go).
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

// Wish is what of a Plan is wanted beyond a first configuration.
type Wish struct {
	// Migrate has what is old taken out.
	Migrate bool
	// Force has a configuration replaced that somebody has written already.
	Force bool
}

// A Change is one file that is to have another content.
type Change struct {
	// File is its name in the tree.
	File string
	// Before and After are its content; nil is no file.
	Before, After []byte
	// shown is what is said of it.
	shown string
}

// A Plan is what is to be done to a machine, all of it to be shown first.
type Plan struct {
	tree machine.Tree
	// Changes are in the order in which they are made.
	Changes []Change
	// Differs is how an existing configuration, which stays, differs from what
	// would be written now: a unified diff.
	Differs []byte
}

// newMode is that of a new configuration, which holds no secret.
const newMode = 0o644

// NewPlan says what to do about what was found. file is the configuration.
func NewPlan(tree machine.Tree, file string, m machine.Machine, wish Wish) (*Plan, error) {
	p := &Plan{tree: tree}
	text := []byte(Text(m))
	old, err := tree.Read(file)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the configuration: %w", err)
	case len(text) == 0 && err != nil:
		return nil, netwatch.WithHint(errors.New("looking for what depends on the network: "+
			"there is neither a coturn nor a certificate that one or a Synapse serves"),
			"run it where they are installed, and as root; or write a configuration by hand, netwatch.toml(5) says how")
	case len(text) == 0:
		text = old
	}
	inForce, anew := old, wish.Force || bytes.Equal(old, packaging.Configuration)
	switch {
	case err != nil || anew && !bytes.Equal(old, text):
		p.Changes, inForce = []Change{newConfig(file, old, text)}, text
	case !bytes.Equal(old, text):
		p.Differs = diff.Diff(file, old, "what netwatch init would write", text)
	}
	if !wish.Migrate {
		return p, nil
	}
	if err := covered(file, inForce, m); err != nil {
		return nil, err
	}
	p.migrate(m)
	return p, p.checkSudoers()
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

// covered refuses to take something out in whose place nothing comes: the
// configuration must be right, and rotate each coturn that was found.
func covered(file string, text []byte, m machine.Machine) error {
	cfg, err := config.Parse(file, text, actions.Env{})
	if err != nil {
		return err
	}
	var files []string
	for _, r := range cfg.Rotations() {
		files = append(files, string(r.File))
	}
	for _, t := range m.Turns {
		if !slices.Contains(files, t.File) {
			return netwatch.WithHint(fmt.Errorf("taking out what is old: no rule of %s rotates %s", file, t.File),
				"add one, as netwatch init without --migrate shows it, or have the configuration written anew with --force")
		}
	}
	return nil
}

// migrate plans to take out what is old: first what calls, then what is called.
func (p *Plan) migrate(m machine.Machine) {
	for _, o := range m.Old {
		if o.Kept != "" {
			continue
		}
		p.Changes = append(p.Changes, Change{File: o.File, Before: o.Text, After: o.Rest, shown: o.Shown()})
	}
}

// checkSudoers has visudo look at what sudo is to read, if there is one: a mistake
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

// Print shows what is to be done. Of files that may hold secrets it shows nothing
// but the lines that go and come.
func (p *Plan) Print(w io.Writer) {
	for _, c := range p.Changes {
		fmt.Fprintf(w, "\n%s %s\n%s", c.verb(), netwatch.Printable(c.File), c.shown)
	}
}

// verb is what becomes of the file.
func (c Change) verb() string {
	switch {
	case c.Before == nil:
		return "write"
	case c.After == nil:
		return "remove"
	}
	return "change"
}
