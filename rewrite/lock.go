package rewrite

import (
	"context"
	"crypto/sha256"
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

// lock waits until nobody else rewrites the file, and returns what ends that. The
// lock is not the file itself, which whoever may read it could lock, but one of
// ours, which is named by the directory and the name. There are 256 of them, so
// that whoever may rename the file cannot have us make more; two files with the
// same one wait for each other. The kernel drops it with the descriptor, so a
// crash leaves none.
func (f *File) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := locks()
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.way.Dir(), &st); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", st.Dev, st.Ino, f.way.Base()))
	lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%02x", sum[0])), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, lock); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return func() { _ = lock.Close() }, nil
}

// await takes the lock.
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

// locks is a directory that only we can write: root's, or one of the user's own
// where somebody else rewrites files of his.
func locks() (string, error) {
	dir := lockDir
	if uid := os.Geteuid(); uid != 0 {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("netwatch-lock-%d", uid))
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return "", netwatch.WithHint(fmt.Errorf("%s is not a directory of ours alone", dir), "remove it")
	}
	return dir, nil
}
