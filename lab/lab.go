// Package lab boots what netwatch lives with, the real things on one machine:
// an internet with STUN servers, a router with NAT whose public address
// changes, and a server with systemd, D-Bus, polkit and coturn; and it asks
// coturn for relayed addresses as a caller does.
//
// It needs root and, of Debian's packages, systemd-container, coturn,
// nftables, conntrack, dbus, polkitd, iproute2, acl, attr, certbot, pebble and miniupnpd,
// for other releases of Debian debootstrap, for Synapse python3-venv and for
// netwatch's own packages lintian. Everything it makes bears the name nwPIDxN,
// for the N-th lab of a process; all traffic stays in network namespaces of that
// name, and all addresses are documentation ones. Synapse itself and the other
// releases are the exception: they come from PyPI and from a mirror of Debian the
// first time, and stay in the user's cache.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Lab is an internet, a router and the network of a server behind it.
type Lab struct {
	// Inet, Router and Net are the names of the network namespaces of the
	// internet, the router and the server.
	Inet, Router, Net string

	name string
	dir  string
	// cgroups are those in which the server runs.
	cgroups []string

	mu   sync.Mutex
	undo []func() error
}

// made is how many labs this process has made.
var made atomic.Int64

// New removes what earlier labs that were killed left behind, and makes the
// namespaces with all their links and addresses. Close undoes it.
func New(ctx context.Context) (*Lab, error) {
	if err := sweep(ctx, labsDir()); err != nil {
		return nil, fmt.Errorf("removing the leftovers of earlier labs: %w", err)
	}
	name := fmt.Sprintf("nw%dx%d", os.Getpid(), made.Add(1))
	l := &Lab{
		name: name, dir: filepath.Join(labsDir(), name), Inet: name + "-inet", Router: name + "-rtr",
		Net: name + "-srv",
	}
	for _, step := range []func(context.Context) error{l.addDir, l.addCgroups, l.addNetwork} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// labsDir is where labs, and nothing else, have their directories.
func labsDir() string { return filepath.Join(os.TempDir(), "netwatch-lab") }

// Dir is a directory on a tmpfs that lasts as long as the lab.
func (l *Lab) Dir() string { return l.dir }

// Close undoes all that was done, the last first, and goes on when something
// cannot be undone.
func (l *Lab) Close() error {
	l.mu.Lock()
	undo := l.undo
	l.undo = nil
	l.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(undo) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// later remembers what Close has to do.
func (l *Lab) later(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// addDir mounts the lab's directory: a tmpfs, because an overlay cannot have
// its upper layer on another overlay, and because nothing here need last.
func (l *Lab) addDir(context.Context) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("making the lab's directory: %w", err)
	}
	l.later(func() error { return os.Remove(l.dir) })
	if err := syscall.Mount("nwlab", l.dir, "tmpfs", 0, "size=1g,mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", l.dir, err)
	}
	l.later(func() error { return unmount(l.dir) })
	return nil
}

// unmount detaches a mount even when something still has a file open in it.
func unmount(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting %s: %w", dir, err)
	}
	return nil
}
