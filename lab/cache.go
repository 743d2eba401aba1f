package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

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

// cached has something made in the cache, unless it is there, and returns where
// it is. Of two that want it one waits for the other. It is renamed to its name
// once it is whole, and what one that was killed has left is made anew.
func cached(name string, install func(dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { // Users in a server read it.
		return "", fmt.Errorf("making the lab's cache: %w", err)
	}
	dir := filepath.Join(cache, name)
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", fmt.Errorf("waiting for another lab that makes %s: %w", name, err)
	}
	defer unlock()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := errors.Join(os.RemoveAll(dir+".new"), os.Mkdir(dir+".new", 0o755)); err != nil { // See above.
		return "", err
	}
	if err := install(dir + ".new"); err != nil {
		return "", err
	}
	return dir, os.Rename(dir+".new", dir)
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
