package lab

import (
	"context"
	_ "embed" // The pinned requirements.
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"netwatch"
)

// synapsePins are what pip(1) installs.
//
//go:embed synapse-requirements.txt
var synapsePins string

// cacheDir is where labs of this machine keep what takes long to make, and
// cacheInside where a server sees it, whatever the modes above it here.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for the lab's cache: %w", err)
	}
	return filepath.Join(dir, "netwatch-lab"), nil
}

const cacheInside = "/opt/netwatch-lab"

// addSynapse makes a virtual environment with Synapse in the cache, unless it
// is there, and returns its name. Of two that want it one waits for the other.
// It is renamed to its name once it is whole; what is run in it as a module, as
// YunoHost does, does not care where it lies.
func addSynapse(ctx context.Context) (name string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	name = "synapse-" + netwatch.Fingerprint([]byte(synapsePins))[:12]
	dir := filepath.Join(cache, name)
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", fmt.Errorf("waiting for another lab that installs Synapse: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	if err := installSynapse(ctx, dir+".new"); err != nil {
		return "", fmt.Errorf("installing Synapse from PyPI: %w", err)
	}
	return name, os.Rename(dir+".new", dir)
}

// installSynapse makes the environment of Debian's Python, which the server has
// too; another one may come before it in the PATH. What pip unpacks on its way
// goes into it, so that nothing lies about when this is killed.
func installSynapse(ctx context.Context, dir string) error {
	if _, err := run(ctx, "/usr/bin/python3", "-m", "venv", "--clear", dir); err != nil {
		return netwatch.WithHint(err, "make deps installs Debian's python3-venv")
	}
	_, err := runInput(ctx, strings.NewReader(synapsePins), "env", "TMPDIR="+dir, filepath.Join(dir, "bin", "python"), "-m", "pip", "install",
		"--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "-r", "/dev/stdin")
	return err
}

// lock waits for a file that one process at a time can have, and takes it; it
// loses it by ending too.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		_ = f.Close() // The error before it counts.
		return nil, err
	}
	return func() { _ = f.Close() }, nil // Nothing was written.
}
