package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/access"
	"netwatch/grant"
	"netwatch/helper"
	"netwatch/servers"
)

// A granting is one call of netwatch grant.
type granting struct {
	*command
	dryRun, revoke bool
	part           string
}

func (c *command) grantCommand() *cobra.Command {
	g := &granting{command: c}
	cmd := &cobra.Command{
		Use: "grant", Args: cobra.NoArgs,
		Short: "Give the daemon's user what the configuration needs, and nothing more",
		RunE:  func(cmd *cobra.Command, _ []string) error { return g.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&g.dryRun, "dry-run", false, "print what would be written, and write nothing")
	cmd.Flags().BoolVar(&g.revoke, "revoke", false, "take everything back, whatever the configuration is")
	cmd.Flags().StringVar(&g.part, "part", "",
		"do only this `PART`: rules (polkit's and the helper's), or files (that are opened)")
	return cmd
}

// The parts of granting. The second looks into places of others, who can keep that
// from ever ending; so the units of the package do it beside the start of the daemon.
const (
	partRules = "rules"
	partFiles = "files"
)

func (g *granting) run(ctx context.Context) (err error) {
	if !slices.Contains([]string{"", partRules, partFiles}, g.part) {
		return usageError{fmt.Errorf("granting: there is no part %q: it is %s or %s", g.part, partRules, partFiles)}
	}
	var needs grant.Needs
	if !g.revoke {
		if needs, err = grant.Load(g.config); err != nil {
			return err
		}
	}
	var files []grant.File
	var flags grant.Flags
	if g.part != partFiles {
		if files, err = needs.Files(ctx); err != nil {
			return fmt.Errorf("granting: %w", err)
		}
		if flags, err = needs.Flags(ctx); err != nil {
			return fmt.Errorf("granting: %w", err)
		}
	}
	if g.dryRun {
		return g.preview(needs, append(files, flags.Files()...))
	}
	return g.grant(ctx, needs, files, flags)
}

// preview prints what would be done.
func (g *granting) preview(needs grant.Needs, files []grant.File) error {
	for _, f := range files {
		if _, err := fmt.Fprintf(g.stdout, "# %s\n%s\n", f.Path, cmp.Or(f.Text, "(no such file)\n")); err != nil {
			return err
		}
	}
	would := needs.WouldOpen()
	for _, r := range would.Rights {
		fmt.Fprintf(g.stdout, "# %s\n%s\n\n", r.Path, rightText(r))
	}
	g.complain(would.Closed)
	return nil
}

// grant writes the files and opens others, and prints what it did. What cannot be done
// keeps nothing else from being done.
func (g *granting) grant(ctx context.Context, needs grant.Needs, files []grant.File, flags grant.Flags) error {
	if os.Geteuid() != 0 {
		err := fmt.Errorf("granting: %w", fs.ErrPermission)
		return netwatch.WithHint(err, "run it as root; --dry-run shows what it would write")
	}
	var failed []error
	for _, f := range files {
		did, err := f.Put()
		if err != nil {
			failed = append(failed, fmt.Errorf("granting: %w", err))
			continue
		}
		fmt.Fprintf(g.stdout, "%s: %s\n", f.Path, did)
	}
	done, left := flags.Put(ctx)
	for _, line := range done {
		fmt.Fprintln(g.stdout, line)
	}
	g.complain(left)
	if g.part != partRules {
		failed = append(failed, g.open(ctx, needs))
	}
	return errors.Join(failed...)
}

// open opens files to the daemon's user, and prints which.
func (g *granting) open(ctx context.Context, needs grant.Needs) error {
	opened, err := needs.Open(ctx)
	if err != nil {
		return fmt.Errorf("granting: %w", err)
	}
	for _, r := range opened.Rights {
		fmt.Fprintf(g.stdout, "%s: %s: %s\n", r.Path, rightText(r), r.Outcome)
	}
	g.complain(opened.Closed)
	if g.revoke {
		g.complain(servers.TakeBack(ctx, func(file, lines string) {
			fmt.Fprintf(g.stdout, "%s: without %q, which was not there before netwatch; "+
				"its server heeds that from its next start on\n", shown(file), lines)
		}))
	}
	return nil
}

// complain prints what could not be opened, or left out.
func (g *granting) complain(closed []error) {
	for _, err := range closed {
		printError(g.stderr, fmt.Errorf("granting: %w", err))
	}
}

// rightText is a right as setfacl(1) would write it.
func rightText(r access.Right) string {
	if r.Perm == "" {
		return "no user:" + helper.User
	}
	return "user:" + helper.User + ":" + r.Perm
}
