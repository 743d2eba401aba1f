package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// enterCgroups is a shell script that goes into the cgroups of its first
// argument, a list, and becomes the program of the others. Two servers in one
// cgroup would end each other's units, since systemd kills a unit by its cgroup.
const enterCgroups = `for dir in $1; do echo 0 >"$dir/cgroup.procs" || exit; done; shift; exec "$@"`

// cgroupParents are our own cgroups in the hierarchies by which systemd keeps
// its units apart: the unified one, and in a hybrid layout its own old one too
// (cgroups(7), and systemd's table of mounts).
func cgroupParents() ([]string, error) {
	table, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("looking for our cgroups: %w", err)
	}
	unified := "/sys/fs/cgroup"
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		unified = "/sys/fs/cgroup/unified"
	}
	roots := map[string]string{"": unified, "name=systemd": "/sys/fs/cgroup/systemd"}
	var dirs []string
	for line := range strings.Lines(string(table)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && roots[f[1]] != "" {
			dirs = append(dirs, filepath.Join(roots[f[1]], f[2]))
		}
	}
	return dirs, nil
}

// addCgroups makes cgroups of the lab's name.
func (l *Lab) addCgroups(context.Context) error {
	parents, err := cgroupParents()
	if err != nil {
		return err
	}
	for _, parent := range parents {
		dir := filepath.Join(parent, l.name)
		if err := os.Mkdir(dir, 0o755); err != nil { // As all cgroups are.
			return fmt.Errorf("making a cgroup: %w", err)
		}
		l.cgroups = append(l.cgroups, dir)
		l.later(func() error { return removeCgroups(dir) })
	}
	return nil
}

// removeCgroups removes a cgroup and all below it, once the last process in
// them is gone; the kernel takes a moment for that.
func removeCgroups(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		var dirs []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		for _, d := range slices.Backward(dirs) {
			err = errors.Join(err, os.Remove(d))
		}
		if err != nil {
			return fmt.Errorf("removing the cgroup %s: %w", dir, err)
		}
		return nil
	})
}

// sweepCgroups removes the cgroups of abandoned labs.
func sweepCgroups() error {
	parents, err := cgroupParents()
	errs := []error{err}
	for _, parent := range parents {
		found, _ := filepath.Glob(filepath.Join(parent, "nw*")) // The pattern is well-formed.
		for _, dir := range found {
			if abandoned(filepath.Base(dir)) {
				errs = append(errs, removeCgroups(dir))
			}
		}
	}
	return errors.Join(errs...)
}
