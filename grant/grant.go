package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/rewrite"
	"netwatch/sources"
	"netwatch/systemd"
)

// Where grant writes.
const (
	polkitFile = "/etc/polkit-1/rules.d/50-netwatch.rules"
	dropInFile = "/etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf"
)

func (c *command) grantCommand() *cobra.Command {
	var dryRun, revoke bool
	var part string
	cmd := &cobra.Command{
		Use: "grant", Args: cobra.NoArgs,
		Short: "Give the daemon's user what the configuration needs, and nothing more",
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := &grants{files: []granted{{path: polkitFile}, {path: dropInFile}}}, error(nil)
			if !revoke {
				g, err = needed(cmd.Context(), c.config, part)
			}
			switch {
			case err != nil:
				return err
			case !slices.Contains([]string{"", partRules, partFiles}, part):
				return usageError{fmt.Errorf("granting: there is no part %q: it is %s or %s", part, partRules, partFiles)}
			case dryRun:
				return c.printGrants(cmd.ErrOrStderr(), g)
			}
			return c.grant(cmd.Context(), cmd.ErrOrStderr(), g, part)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be written, and write nothing")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "take everything back, whatever the configuration is")
	cmd.Flags().StringVar(&part, "part", "", "do only this `PART`: rules (polkit's and the helper's), or files (that are opened)")
	return cmd
}

// The parts of granting. The second looks into places of others, who can keep that
// from ever ending; so the units of the package do it beside the start of the daemon.
const (
	partRules = "rules"
	partFiles = "files"
)

// lockTime is how long another that opens files may take.
const lockTime = 3 * time.Second

// grants are what the daemon's user may do, and root alone could give.
type grants struct {
	files []granted
	// needs are files that he is to read, and secret those of which it is only
	// said that he cannot.
	needs  []access.Need
	secret []netwatch.Path
	// rotated are the files that the helper rewrites.
	rotated []netwatch.Path
}

// A granted is a file that grants something; without text there is to be none.
type granted struct{ path, text string }

// needed is what a configuration without mistakes needs. The rules and the
// helper's command line are made from the same file at the same time, so that a
// configuration that somebody is in the middle of changing neither gives nor
// takes anything.
func needed(ctx context.Context, file, part string) (*grants, error) {
	cfg, err := config.Load(file, actions.Env{})
	if err != nil {
		return nil, err
	}
	g := &grants{}
	var units []unitGrant
	var rotations []*actions.Rotation
	for _, rule := range cfg.Rules {
		for _, step := range rule.Do {
			if unit, verb, ok := actions.UnitNeed(step.Action); ok {
				units = append(units, unitGrant{unit, verb})
			}
			if r, ok := step.Action.(*actions.Rotation); ok {
				rotations = append(rotations, r)
				g.rotated = append(g.rotated, netwatch.Path(r.File))
			}
		}
	}
	g.needs, g.secret = readings(cfg)
	if part == partFiles {
		return g, nil
	}
	return g, g.write(ctx, units, rotations, accepted(cfg))
}

// write makes the text of the files.
func (g *grants) write(
	ctx context.Context, units []unitGrant, rotations []*actions.Rotation, accept []netip.Prefix,
) error {
	units, err := canonical(ctx, units)
	if err != nil {
		return fmt.Errorf("granting: %w", err)
	}
	needs := make([]rotationGrant, len(rotations))
	for i, r := range rotations {
		if needs[i], err = rotationNeed(ctx, r); err != nil {
			return fmt.Errorf("granting: %w", err)
		}
	}
	dropIn, err := helperDropIn(needs, accept)
	if err != nil {
		return fmt.Errorf("granting: writing %s: %w", dropInFile, err)
	}
	g.files = []granted{{polkitFile, polkitRules(units)}, {dropInFile, dropIn}}
	return nil
}

// accepted are the prefixes that some source takes for public.
func accepted(cfg *config.Config) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range cfg.Sources {
		if stun, ok := s.Settings.(*sources.STUN); ok {
			all = append(all, stun.Accept...)
		}
	}
	return all
}

func (c *command) printGrants(stderr io.Writer, g *grants) error {
	for _, f := range g.files {
		text := cmp.Or(f.text, "(no such file)\n")
		if _, err := fmt.Fprintf(c.stdout, "# %s\n%s\n", f.path, text); err != nil {
			return err
		}
	}
	c.open(stderr, g, access.Ledger{File: recordFile})
	return nil
}

// grant writes the files and opens others. polkitd notices, and systemd reads the
// drop-in of each helper that it starts (measured with 252): nothing has to be
// told to them.
func (c *command) grant(ctx context.Context, stderr io.Writer, g *grants, part string) error {
	if os.Geteuid() != 0 {
		return netwatch.WithHint(fmt.Errorf("granting: %w", fs.ErrPermission), "run it as root; --dry-run shows what it would write")
	}
	for _, f := range g.files {
		if part == partFiles {
			break
		}
		did, err := f.put()
		if err != nil {
			return fmt.Errorf("granting: %w", err)
		}
		fmt.Fprintf(c.stdout, "%s: %s\n", f.path, did)
	}
	if part == partRules {
		return nil
	}
	// One looks at a time, also where somebody keeps him from ever ending.
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	unlock, err := rewrite.Lock(ctx, recordFile)
	if err != nil {
		err = fmt.Errorf("granting: waiting for another that opens files: %w", err)
		return netwatch.WithHint(err, "see systemctl status netwatch-open.service")
	}
	defer unlock()
	c.open(stderr, g, access.Ledger{File: recordFile, Put: func(text string) error {
		_, err := granted{recordFile, text}.put()
		return err
	}})
	return nil
}

// put makes the file as it should be, whole or not at all.
func (f granted) put() (netwatch.Outcome, error) {
	if f.text == "" {
		err := os.Remove(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			return netwatch.Unchanged, nil
		}
		return netwatch.Changed, err
	}
	if f.stands() {
		return netwatch.Unchanged, nil
	}
	if err := f.makeDir(); err != nil {
		return "", err
	}
	return netwatch.Changed, f.write()
}

// makeDir makes the directory if it is not there. Who may read a directory can hold
// up whoever writes to it for as long as he likes (its lock in the kernel), so those
// that are ours are root's alone, who is systemd's reader; polkitd must get through.
func (f granted) makeDir() error {
	dir, mode := filepath.Dir(f.path), fs.FileMode(0o700)
	if f.path == polkitFile {
		mode = 0o755
	}
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, mode)) //nolint:gosec // Those above are for all.
	}
	return err
}

// write replaces the file. The name of the temporary one begins with a dot, so
// that neither polkitd nor systemd reads it.
func (f granted) write() error {
	temporary, err := renameio.NewPendingFile(f.path, renameio.WithTempDir(filepath.Dir(f.path)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = temporary.Cleanup() }() // Nothing is left to do once it is in place.
	if _, err := temporary.WriteString(f.text); err != nil {
		return err
	}
	return temporary.CloseAtomicallyReplace()
}

// stands says that the file is as it should be.
func (f granted) stands() bool {
	info, err := os.Lstat(f.path)
	if err != nil || info.Mode() != 0o644 {
		return false
	}
	text, err := os.ReadFile(f.path)
	return err == nil && string(text) == f.text
}

// A unitGrant is a unit and a verb of polkit's.
type unitGrant struct{ unit, verb string }

// canonical is the grants by the names that polkit is asked with, which are not
// aliases, each once. A unit that is not installed is not granted to be started:
// later versions of systemd ask polkit the same when somebody makes a transient
// unit of that name, with a program of his own, to be run as root
// (method_start_transient_unit of systemd 258; 252 tells no name then, measured).
func canonical(ctx context.Context, units []unitGrant) ([]unitGrant, error) {
	var all []unitGrant
	for _, g := range units {
		id, installed, err := lookUp(ctx, g.unit)
		if err != nil {
			return nil, err
		}
		if installed || g.verb != "start" {
			all = append(all, unitGrant{id, g.verb})
		}
	}
	slices.SortFunc(all, func(a, b unitGrant) int {
		return cmp.Or(cmp.Compare(a.unit, b.unit), cmp.Compare(a.verb, b.verb))
	})
	return slices.Compact(all), nil
}

// lookUp asks systemd for the name that a unit's name stands for and whether it
// has a unit file.
func lookUp(ctx context.Context, unit string) (id string, installed bool, err error) {
	shown, err := systemd.Show(ctx, unit, "Id", "FragmentPath")
	if err != nil {
		return "", false, err
	}
	id = cmp.Or(shown["Id"], unit)
	if err := netwatch.CheckPlain(id); err != nil {
		return "", false, fmt.Errorf("looking at %s: its name is no plain text: %w", unit, err)
	}
	return id, shown["FragmentPath"] != "", nil
}
