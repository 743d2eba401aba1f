package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/setup"
)

// An initialization is one call of netwatch init.
type initialization struct {
	*command
	setup.Wish
	tree    string
	program string
	dryRun  bool
	restore bool
}

func (c *command) initCommand() *cobra.Command {
	i := &initialization{command: c}
	cmd := &cobra.Command{
		Use: "init [DIR]", Short: "Find what depends on the network, write the configuration, show what it replaces",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case i.restore:
				return i.putBack(append(args, "")[0])
			case len(args) > 0:
				return usageError{errors.New("a directory is named with --restore only")}
			}
			return i.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&i.dryRun, "dry-run", false, "print what would be done, and do nothing")
	cmd.Flags().BoolVar(&i.Migrate, "migrate", false, "take out what netwatch replaces, after a backup")
	cmd.Flags().BoolVar(&i.Force, "force", false,
		"write the configuration also where there is one, after a backup; restore also what was changed since")
	cmd.Flags().BoolVar(&i.restore, "restore", false, "put back what the newest backup, or that in DIR, holds")
	cmd.Flags().StringVar(&i.tree, "root", "/", "the directory that is the machine's root")
	cmd.Flags().StringVar(&i.program, "program", program(), "the netwatch that OpenVPN is to call")
	for _, hidden := range []string{"root", "program"} {
		_ = cmd.Flags().MarkHidden(hidden) // It was just made
	}
	return cmd
}

// run looks, plans, shows the plan and then carries it out.
func (i *initialization) run(ctx context.Context) error {
	file, err := filepath.Abs(i.config)
	if err != nil {
		return fmt.Errorf("finding the configuration: %w", err)
	}
	tree := machine.Tree(i.tree)
	found := machine.Look(ctx, tree, i.program)
	found.Print(i.stdout)
	plan, err := setup.NewPlan(tree, file, found, i.Wish)
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	if len(plan.Differs) > 0 {
		fmt.Fprintf(i.stdout, "\n%s stays as it is; %s writes it anew, after a backup:\n%s",
			shown(i.config), shown(i.again("--force")), plan.Differs)
	}
	plan.Print(i.stdout)
	if i.dryRun || len(plan.Changes) == 0 {
		i.nothing(len(plan.Changes), !i.leftFor(found) && len(plan.Differs) == 0)
	} else if err := i.apply(plan); err != nil {
		return err
	}
	i.advise(found, file, len(plan.Changes) > 0)
	return nil
}

// again is the command that does this once more, with other flags and the same files.
func (i *initialization) again(flags ...string) string {
	words := append([]string{"netwatch", "init"}, flags...)
	if i.config != defaultConfig() {
		words = append(words, "-c", i.config)
	}
	if i.tree != "/" {
		words = append(words, "--root", i.tree)
	}
	for n := range words {
		if words[n][0] != '-' {
			words[n] = netwatch.ShellPath(words[n])
		}
	}
	return strings.Join(words, " ")
}

// leftFor says whether what was found leaves something to do that init does not do now.
func (i *initialization) leftFor(found machine.Machine) bool {
	return found.Removable() && !i.Migrate || len(found.Contained)+len(found.Idle)+len(found.Unread) > 0
}

// nothing says that nothing was done, and whether that is all.
func (i *initialization) nothing(changes int, all bool) {
	switch {
	case changes > 0:
		fmt.Fprintln(i.stdout, "\nnothing was done (--dry-run)")
	case all:
		fmt.Fprintln(i.stdout, "\nnothing is to be done")
	}
}

func (i *initialization) apply(plan *setup.Plan) error {
	fmt.Fprintln(i.stdout)
	backup, err := plan.Apply(i.did)
	if backup != "" {
		fmt.Fprintf(i.stdout, "as it was: %s (%s puts it back)\n", shown(backup), shown(i.again("--restore", backup)))
	}
	return forRoot(err)
}

// forRoot adds the remedy to an error that comes of missing rights.
func forRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return netwatch.WithHint(err, "run it as root; --dry-run shows what it would do")
	}
	return err
}

func (i *initialization) did(c setup.Change) {
	fmt.Fprintln(i.stdout, "done:", shown(c.File))
}

// advise says what comes next. changed says that there were changes to make.
func (i *initialization) advise(found machine.Machine, file string, changed bool) {
	lines := setup.Contained(found, file)
	if found.Removable() && !i.Migrate {
		lines = append(lines, i.again("--migrate")+" takes out what netwatch replaces, after a backup")
	}
	if changed {
		lines = append(lines, setup.Advice(found, i.program)...)
	}
	if _, err := config.Load(i.config, actions.Env{}); err == nil && changed && !i.dryRun && i.tree == "/" {
		lines = append(lines, i.start(file))
	}
	for _, line := range lines {
		fmt.Fprintln(i.stdout, "next:", shown(line))
	}
}

// start is how to have netwatch go by the configuration. The unit has its own idea of
// where that is.
func (i *initialization) start(file string) string {
	if file != config.DefaultFile {
		return "netwatch.service goes by " + config.DefaultFile +
			"; to try this one: netwatch run -c " + netwatch.ShellPath(file)
	}
	return "systemctl enable --now netwatch.socket netwatch.service " +
		"(running already: systemctl reload netwatch.service), then netwatch doctor"
}

// putBack restores a backup. It fails if a file stays because it was changed since.
func (i *initialization) putBack(dir string) error {
	r, err := setup.NewRestore(machine.Tree(i.tree), dir, i.Force)
	if err != nil {
		return err
	}
	fmt.Fprintln(i.stdout, "backup:", shown(r.Dir))
	r.Print(i.stdout)
	if i.dryRun || len(r.Changes) == 0 {
		i.nothing(len(r.Changes), len(r.Moved) == 0)
	} else if err := r.Apply(i.did); err != nil {
		return forRoot(err)
	}
	if len(r.Moved) > 0 {
		return errFailed
	}
	return nil
}
