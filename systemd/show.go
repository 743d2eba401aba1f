package systemd

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"netwatch/access"
)

// Show returns what systemctl(1) shows of a unit: the properties asked for, as text,
// by name. It needs no D-Bus when root asks. A unit that does not exist has
// properties too.
func Show(ctx context.Context, unit string, properties ...string) (map[string]string, error) {
	var out, complaint strings.Builder
	cmd := exec.CommandContext(ctx, "systemctl", "show", "--property="+strings.Join(properties, ","), "--", unit)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("asking systemd about %s: %w: %s", unit, err, strings.TrimSpace(complaint.String()))
	}
	shown := map[string]string{}
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		shown[key] = value
	}
	return shown, nil
}

// Readers are the users other than root as whom those of the units run that are
// started with the file as an argument: they have to be able to read it. Processes
// are not looked at, because any user can start one of any name with that argument.
func Readers(ctx context.Context, file string, units []string) ([]access.Reader, error) {
	var all []access.Reader
	for _, unit := range units {
		shown, err := Show(ctx, unit, "Id", "User", "Group", "SupplementaryGroups", "ExecStart")
		if err != nil {
			return nil, err
		}
		if shown["User"] == "" || !StartedWith(shown["ExecStart"], file) {
			continue
		}
		all = append(all, access.Reader{
			Unit: shown["Id"], User: shown["User"], Group: shown["Group"], Groups: strings.Fields(shown["SupplementaryGroups"]),
		})
	}
	return all, nil
}

// StartedWith says whether a command line, as systemctl shows it, names the file: as
// a word of its own or behind an option, as in turnserver -c FILE or --config=FILE.
func StartedWith(execStart, file string) bool {
	return slices.ContainsFunc(strings.Fields(execStart), func(word string) bool {
		if at := strings.IndexByte(word, '/'); at >= 0 {
			word = word[at:]
		}
		return filepath.Clean(word) == file
	})
}

// ReadUnits has systemd read its units anew.
func ReadUnits(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "systemctl", "daemon-reload").CombinedOutput(); err != nil {
		return fmt.Errorf("having systemd read its units: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
