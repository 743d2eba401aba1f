package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// labName is what the name of everything in a lab begins with; the first number
// is the process that made it.
var labName = regexp.MustCompile(`^nw([0-9]+)x[0-9]+(-(inet|rtr|srv))?$`)

// abandoned tells whether something of this name belongs to a lab whose
// process is gone.
func abandoned(name string) bool {
	m := labName.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	pid, err := strconv.Atoi(m[1])
	return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// sweep removes the namespaces, mounts and cgroups of labs that were killed. Their
// processes have died with them, except those that the init of a container has
// adopted: sweep ends these.
func sweep(ctx context.Context, dir string) error {
	return errors.Join(sweepNamespaces(ctx), sweepMounts(dir), sweepCgroups())
}

func sweepNamespaces(ctx context.Context) error {
	found, err := os.ReadDir(filepath.Dir(netnsPath("x")))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing network namespaces: %w", err)
	}
	var errs []error
	for _, f := range found {
		if abandoned(f.Name()) {
			errs = append(errs, endProcesses(ctx, f.Name()), removeNamespace(ctx, f.Name()))
		}
	}
	return errors.Join(errs...)
}

// endProcesses kills whatever runs in an abandoned namespace.
func endProcesses(ctx context.Context, namespace string) error {
	pids, err := run(ctx, "ip", "netns", "pids", namespace)
	if err != nil {
		return fmt.Errorf("listing the processes of %s: %w", namespace, err)
	}
	for _, text := range strings.Fields(pids) {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // It may have ended meanwhile.
		}
	}
	return nil
}

// sweepMounts unmounts the directories of abandoned labs, the innermost mounts
// first, and removes them.
func sweepMounts(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	var errs []error
	for _, point := range slices.Backward(mountPoints(string(table), dir)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(point, dir+"/"), "/")
		if abandoned(name) {
			errs = append(errs, unmount(point))
		}
	}
	old, _ := filepath.Glob(filepath.Join(dir, "nw*")) // The pattern is well-formed.
	for _, path := range old {
		if abandoned(filepath.Base(path)) {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// mountPoints are the mount points below dir in the order of mounting, out of
// a table as in proc_pid_mountinfo(5), whose fifth field they are.
func mountPoints(table, dir string) []string {
	var points []string
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	return points
}
