package rewrite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

const (
	// lockDir is root's directory of locks; systemd makes it for netwatch's helper
	// (packaging/netwatch-file@.service).
	lockDir = "/run/netwatch-lock"
	// lockPause is how long to wait before the lock is tried again.
	lockPause = 10 * time.Millisecond
)

// Lock waits until nobody else holds the lock that path is the name of, takes it, and
// returns what gives it back. path is mostly that of a file to be rewritten. The lock
// is not that file, since whoever may read it could lock it, but one of ours. It goes
// by the path as it is given: whoever decides where the path leads could choose any
// other name, and hold others up. For the same reason it is taken before anything on
// the way is looked at. The kernel drops the lock with the descriptor, so a crash
// leaves none.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	dir, err := locks()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, netwatch.Fingerprint([]byte(path)))
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, lock); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return func() { _ = lock.Close() }, nil
}

// await waits for the lock and takes it.
func await(ctx context.Context, lock *os.File) error {
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// locks is the directory of the locks, where only this process's user can write:
// root's, or one of another user's own who rewrites his files himself.
func locks() (string, error) {
	dir := lockDir
	if uid := os.Geteuid(); uid != 0 {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("netwatch-lock-%d", uid))
	}
	return dir, own(dir)
}

// own makes a directory where only this process's user can write, unless it is there.
func own(dir string) error {
	if err := os.Mkdir(dir, 0o700); !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return netwatch.WithHint(fmt.Errorf("%s is not a directory of ours alone", dir), "remove it")
	}
	return nil
}
