package netwatch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is why something is not opened that lies where a file should.
var ErrNotRegular = errors.New("it is not a regular file")

// OpenRegular opens a regular file for reading and tells what it is. It waits for
// nobody: neither for the writer of a pipe nor for who holds a lease; and what is
// no file is not even opened, since that is an action with some devices. Symlinks
// are followed, but with unix.O_NOFOLLOW as flags one at the last name is not.
func OpenRegular(path string, flags int) (*os.File, fs.FileInfo, error) {
	found, err := os.OpenFile(path, unix.O_PATH|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer found.Close()
	info, err := found.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w (%s)", ErrNotRegular, kindOf(info.Mode()))}
	}
	if err != nil {
		return nil, nil, err
	}
	same := fmt.Sprintf("/proc/self/fd/%d", found.Fd()) // and not what has the name by now
	fd, err := unix.Open(same, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), info, nil
}

// kindOf is what something is that is no regular file.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSymlink:
		return "a symlink"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// ErrTooLarge is why a file is not read to its end.
var ErrTooLarge = errors.New("it is larger")

// tooLarge says by how much a file may not be larger.
func tooLarge(most int64) error {
	if most >= 1<<20 {
		return fmt.Errorf("%w than %d MiB", ErrTooLarge, most>>20)
	}
	return fmt.Errorf("%w than %d KiB", ErrTooLarge, most>>10)
}

// ReadWhole reads all of a file, and refuses one of more than so many bytes.
func ReadWhole(file *os.File, most int64) ([]byte, error) {
	info, err := file.Stat()
	if err == nil && info.Size() > most { // as a log that is named by mistake
		err = tooLarge(most)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most { // it grows
		err = tooLarge(most)
	}
	return text, err
}

// ReadRegular is the whole of a regular file of at most so many bytes.
func ReadRegular(path string, most int64) ([]byte, error) {
	file, _, err := OpenRegular(path, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := ReadWhole(file, most)
	if errors.Is(err, ErrTooLarge) {
		err = &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return text, err
}

// WithoutPath is what went wrong with a file, without the name of it, for who says
// the name himself.
func WithoutPath(err error) error {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}
