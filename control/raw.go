package control

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A raw is a unix stream socket that never blocks and that the Go runtime knows
// nothing of: its calls go straight to the kernel, so that the runtime does not
// give this thread up for one that waits and start another.
type raw int

// connectPause is how long to wait before knocking again where the queue is
// full.
const connectPause = time.Millisecond

func newRaw() (raw, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	return raw(fd), nil
}

// close closes the socket. What was sent stays for the other side to read.
func (s raw) close() { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(s), 0, 0) }

// connect connects to the socket at path; errFull is a queue that is full until
// the deadline.
func (s raw) connect(path string, deadline time.Time) error {
	addr := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	if len(path) >= len(addr.Path) {
		return unix.ENAMETOOLONG
	}
	for i, b := range []byte(path) {
		addr.Path[i] = int8(b) //nolint:gosec // a byte is a byte
	}
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(&addr)), unsafe.Sizeof(addr)) //nolint:gosec // connect(2) takes an address
		switch {
		case errno == 0:
			return nil
		case errno == unix.EAGAIN && time.Until(deadline) > connectPause:
			wait(nil, time.Now().Add(connectPause))
		case errno == unix.EAGAIN:
			return errFull
		case errno != unix.EINTR:
			return errno
		}
	}
}

// send puts all of b into the socket's buffer.
func (s raw) send(b []byte) error {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // write(2) takes an address
	switch {
	case errno == unix.EPIPE:
		return errBroken
	case errno != 0:
		return errno
	case int(n) < len(b):
		return unix.ENOBUFS
	}
	return nil
}

// receive reads at least one byte; errBroken is the end, errLate the deadline.
func (s raw) receive(b []byte, deadline time.Time) (int, error) {
	if !wait([]unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}, deadline) {
		return 0, errLate
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // read(2) takes an address
	if errno != 0 || n == 0 {
		return 0, errBroken
	}
	return int(n), nil
}

// wait waits for one of fds and says whether there is one; the deadline is for
// that alone.
func wait(fds []unix.PollFd, deadline time.Time) bool {
	for {
		left := unix.NsecToTimespec(max(0, int64(time.Until(deadline))))
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)), uintptr(unsafe.Pointer(&left)), 0, 0, 0) //nolint:gosec // ppoll(2) takes addresses
		if errno != unix.EINTR {
			return errno == 0 && n > 0
		}
	}
}
