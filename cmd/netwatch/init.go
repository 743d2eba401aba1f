package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/setup"
	"netwatch/sources"
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
	found := machine.Find(tree, i.program)
	found.Router = i.router(ctx)
	plan, err := setup.NewPlan(tree, file, found, i.Wish)
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	found.Print(i.stdout)
	if len(plan.Differs) > 0 {
		fmt.Fprintf(i.stdout, "\n%s stays as it is; --force would write it anew, after a backup:\n%s",
			shown(i.config), plan.Differs)
	}
	plan.Print(i.stdout)
	if i.dryRun || len(plan.Changes) == 0 {
		i.nothing(len(plan.Changes))
	} else if err := i.apply(plan); err != nil {
		return err
	}
	if found.Removable() && !i.Migrate {
		fmt.Fprintln(i.stdout, "next: netwatch init --migrate takes out what netwatch replaces, after a backup")
	}
	if len(plan.Changes) > 0 {
		i.advise(found)
	}
	return nil
}

// router is the gateway that answers here; none where another machine is looked at.
func (i *initialization) router(ctx context.Context) netip.Addr {
	if i.tree != "/" {
		return netip.Addr{}
	}
	r, err := sources.AskRouter(ctx, nil)
	if err != nil || !r.Healthy {
		return netip.Addr{} // Then there is nothing to write about it
	}
	return r.Gateway
}

// nothing says that nothing was done.
func (i *initialization) nothing(changes int) {
	if changes == 0 {
		fmt.Fprintln(i.stdout, "\nnothing is to be done")
		return
	}
	fmt.Fprintln(i.stdout, "\nnothing was done (--dry-run)")
}

func (i *initialization) apply(plan *setup.Plan) error {
	fmt.Fprintln(i.stdout)
	backup, err := plan.Apply(i.did)
	if backup != "" {
		fmt.Fprintf(i.stdout, "as it was: %s (netwatch init --restore puts it back)\n", shown(backup))
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

// advise says what comes next.
func (i *initialization) advise(found machine.Machine) {
	for _, line := range setup.Advice(found, i.program) {
		fmt.Fprintln(i.stdout, "next:", shown(line))
	}
	if _, err := config.Load(i.config, actions.Env{}); err == nil && i.tree == "/" {
		fmt.Fprintln(i.stdout, "next: systemctl enable --now netwatch.socket netwatch.service "+
			"(running already: systemctl reload netwatch.service), then netwatch doctor")
	}
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
		i.nothing(len(r.Changes))
	} else if err := r.Apply(i.did); err != nil {
		return forRoot(err)
	}
	if len(r.Moved) > 0 {
		return errFailed
	}
	return nil
}
