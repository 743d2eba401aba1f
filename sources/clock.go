package sources

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// clockJumps wakes when the clock of the wall is set, as it also is when the
// machine resumes from suspend: the network may be another then, and timers
// have stood still. It costs nothing in between: a timer that never expires is
// cancelled by the kernel (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)).
func clockJumps(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching the clock: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	if err := arm(timer); err != nil {
		return nil, errors.Join(fmt.Errorf("watching the clock: %w", err), timer.Close())
	}
	jumps := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { _ = timer.Close() })
	go watchClock(timer, jumps) // ends when the timer is closed
	return jumps, nil
}

func watchClock(timer *os.File, jumps chan<- struct{}) {
	for expired := make([]byte, 8); ; {
		_, err := timer.Read(expired)
		if !errors.Is(err, unix.ECANCELED) {
			return
		}
		select {
		case jumps <- struct{}{}:
		default: // one is waiting already
		}
		if arm(timer) != nil {
			return
		}
	}
}

// arm sets the timer to a time that never comes.
func arm(timer *os.File) error {
	raw, err := timer.SyscallConn()
	if err != nil {
		return err
	}
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}}
	armErr := error(nil)
	err = raw.Control(func(fd uintptr) {
		armErr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
	})
	return errors.Join(err, armErr)
}
