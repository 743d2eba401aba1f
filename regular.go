package netwatch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRegular says that something else lies where a regular file should.
var ErrNotRegular = errors.New("it is not a regular file")

// OpenRegular opens a regular file for reading and returns it with what the kernel
// says of it. It never waits, neither for the writer of a pipe nor for the holder of
// a lease. It opens nothing but regular files: to open a device may do something. It
// follows symlinks, but with unix.O_NOFOLLOW in flags not one at the end of the path.
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
	same := fmt.Sprintf("/proc/self/fd/%d", found.Fd()) // And not what has the name by now
	fd, err := unix.Open(same, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), info, nil
}

// kindOf names what lies in the place of a regular file.
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

// ErrTooLarge says that a file is larger than its reader takes.
var ErrTooLarge = errors.New("it is larger")

// tooLarge is ErrTooLarge with the size that the reader takes.
func tooLarge(most int64) error {
	if most >= 1<<20 {
		return fmt.Errorf("%w than %d MiB", ErrTooLarge, most>>20)
	}
	return fmt.Errorf("%w than %d KiB", ErrTooLarge, most>>10)
}

// ReadWhole reads a file to its end. If it has more than most bytes, the error is
// ErrTooLarge.
func ReadWhole(file *os.File, most int64) ([]byte, error) {
	info, err := file.Stat()
	if err == nil && info.Size() > most { // As a log that is named by mistake
		err = tooLarge(most)
	}
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most { // It grows
		err = tooLarge(most)
	}
	return text, err
}

// ReadRegular opens a regular file and reads all of it, at most most bytes.
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

// WithoutPath takes the name of the file out of an error of package os, for callers
// who say the name themselves.
func WithoutPath(err error) error {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}
