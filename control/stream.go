package control

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A stream is a unix stream socket that never blocks and that Go's runtime does not
// know: the thread of the caller waits for it, and no other thread is started.
type stream int

// connectPause is how long to wait before connecting again to a socket whose queue is
// full.
const connectPause = 200 * time.Microsecond

func newStream() (stream, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	return stream(fd), nil
}

// close closes the socket. The other side can still read what was sent.
func (s stream) close() { _ = unix.Close(int(s)) }

// connect connects to the first of the sockets that lets us in. If all are full until
// the deadline, the error is errFull.
func (s stream) connect(path string, deadline time.Time) error {
	for {
		err := s.knock(path)
		switch full := errors.Is(err, unix.EAGAIN); {
		case full && time.Until(deadline) > connectPause:
			wait(nil, time.Now().Add(connectPause))
		case full:
			return errFull
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// knock tries each of the sockets once.
func (s stream) knock(path string) (err error) {
	for _, door := range doors(path) {
		if err = unix.Connect(int(s), &unix.SockaddrUnix{Name: door}); err == nil {
			return nil
		}
	}
	return err
}

// send puts all of b into the socket's buffer.
func (s stream) send(b []byte) error {
	n, err := unix.Write(int(s), b)
	switch {
	case err == unix.EPIPE:
		return errBroken
	case err == nil && n < len(b):
		return unix.ENOBUFS
	}
	return err
}

// receive reads at least one byte. The error is errBroken if there is nothing more to
// read, and errLate at the deadline.
func (s stream) receive(b []byte, deadline time.Time) (int, error) {
	if !wait([]unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}, deadline) { //nolint:gosec // Descriptors are small
		return 0, errLate
	}
	n, err := unix.Read(int(s), b)
	if err != nil || n == 0 {
		return 0, errBroken
	}
	return n, nil
}

// wait waits for one of fds until the deadline, and says whether one is ready.
func wait(fds []unix.PollFd, deadline time.Time) bool {
	for {
		left := unix.NsecToTimespec(max(0, int64(time.Until(deadline))))
		n, err := unix.Ppoll(fds, &left, nil)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}
