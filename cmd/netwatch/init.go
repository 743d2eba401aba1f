package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

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
	dryRun  bool
	restore bool
	hooks   bool
}

func (c *command) initCommand() *cobra.Command {
	i := &initialization{command: c}
	cmd := &cobra.Command{
		Use: "init [DIR]", Args: cobra.MaximumNArgs(1),
		Short: "Find what depends on the network, write the configuration, put hooks in place, show what it replaces",
		RunE: func(cmd *cobra.Command, args []string) error {
			return i.dispatch(cmd.Context(), append(args, "")[0])
		},
	}
	cmd.Flags().BoolVar(&i.dryRun, "dry-run", false, "print what would be done, and do nothing")
	cmd.Flags().BoolVar(&i.Migrate, "migrate", false, "take out what netwatch replaces, after a backup")
	cmd.Flags().BoolVar(&i.Force, "force", false,
		"write the configuration also where there is one, after a backup; restore also what was changed since")
	cmd.Flags().BoolVar(&i.restore, "restore", false,
		"put all back as it was before the first init, or as the backup in DIR has it")
	cmd.Flags().BoolVar(&i.hooks, "hooks", false,
		"with --restore: only the hooks and lines by which others call netwatch, as before it is removed")
	cmd.Flags().StringVar(&i.tree, "root", "/", "the directory that is the machine's root")
	cmd.Flags().StringVar(&i.Program, "program", program(), "the netwatch that OpenVPN is to call")
	for _, hidden := range []string{"root", "program"} {
		_ = cmd.Flags().MarkHidden(hidden) // It was just made
	}
	return cmd
}

// dispatch does what is wanted; dir is that of a backup, or empty.
func (i *initialization) dispatch(ctx context.Context, dir string) error {
	switch {
	case !i.restore && (i.hooks || dir != ""):
		return usageError{errors.New("a directory and --hooks are for --restore only")}
	case i.hooks && (i.Force || dir != ""):
		return usageError{errors.New("--hooks is for all backups, and for what nobody has changed since")}
	case i.hooks:
		return i.away()
	case i.restore:
		return i.putBack(dir)
	}
	return i.run(ctx)
}

// run looks, plans, shows the plan and then carries it out.
func (i *initialization) run(ctx context.Context) error {
	file, err := filepath.Abs(i.config)
	if err != nil {
		return fmt.Errorf("finding the configuration: %w", err)
	}
	tree := machine.Tree(i.tree)
	found := machine.Look(ctx, tree, i.Program)
	found.Router = i.router(ctx)
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
		i.nothing(len(plan.Changes), !i.leftFor(found) && len(plan.Differs)+len(plan.Advice) == 0)
	} else if err := i.apply(plan); err != nil {
		return err
	}
	i.advise(plan, found, file)
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
	refused := func(s machine.Server) bool { return s.Refused != nil }
	return found.Removable() && !i.Migrate || slices.ContainsFunc(found.Servers, refused) ||
		len(setup.Contained(found))+len(found.Idle)+len(found.Unread) > 0
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
	if errors.Is(err, fs.ErrPermission) && netwatch.Hint(err) == "" {
		return netwatch.WithHint(err, "run it as root; --dry-run shows what it would do")
	}
	return err
}

func (i *initialization) did(c setup.Change) {
	fmt.Fprintln(i.stdout, "done:", shown(c.File))
}

// advise says what comes next.
func (i *initialization) advise(plan *setup.Plan, found machine.Machine, file string) {
	lines := setup.Contained(found)
	if found.Removable() && !i.Migrate {
		lines = append(lines, i.again("--migrate")+" takes out what netwatch replaces, after a backup")
	}
	lines = append(lines, plan.Advice...)
	changed := len(plan.Changes) > 0
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

// putBack restores backups. It fails if a file stays because it was changed since.
func (i *initialization) putBack(dir string) error {
	r, err := setup.NewRestore(machine.Tree(i.tree), dir, i.Force)
	if err != nil {
		return err
	}
	r.Print(i.stdout)
	if i.dryRun || len(r.Changes) == 0 {
		i.nothing(len(r.Changes), len(r.Moved) == 0)
	}
	if err := i.carryOut(r); err != nil {
		return err
	}
	if !i.dryRun && i.tree == "/" {
		for _, line := range r.Next(config.DefaultFile) {
			fmt.Fprintln(i.stdout, "next:", line)
		}
	}
	if len(r.Moved) > 0 {
		return errFailed
	}
	return nil
}

// carryOut does what was shown.
func (i *initialization) carryOut(r *setup.Restore) error {
	if i.dryRun {
		return nil
	}
	return forRoot(r.Apply(i.did))
}

// away takes back what has others call netwatch, before it is removed. While somebody
// would call it who does not go on without, it changes nothing and fails.
func (i *initialization) away() error {
	r, err := setup.NewAway(machine.Tree(i.tree))
	if err != nil {
		return err
	}
	r.Print(i.stdout)
	var files []string
	for _, c := range r.Callers(i.Program) {
		fmt.Fprintf(i.stdout, "calls netwatch still: %s: %s\n", shown(c.File), shown(c.Line))
		switch file := netwatch.ShellPath(c.File); {
		case !c.Needs:
			fmt.Fprintln(i.stdout, "    it stays: take the line out, or the file if it does nothing else")
		case !slices.Contains(files, file):
			files = append(files, file)
		}
	}
	if files == nil {
		if len(r.Changes) > 0 {
			fmt.Fprintln(i.stdout, "should netwatch come back: netwatch init puts it in place again")
		}
		return i.carryOut(r)
	}
	err = errors.New("taking netwatch away: OpenVPN would call it, and does not start where a program of its is missing")
	return netwatch.WithHint(err, `sed -i --follow-symlinks '/netwatch.*hook.*openvpn/d' `+strings.Join(files, " ")+
		" takes the lines out; then restart OpenVPN")
}
