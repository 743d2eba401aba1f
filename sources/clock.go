package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clockJumps wakes the receiver when the wall clock is set. The kernel also sets it
// when the machine resumes from suspend: the network may be another then, and Go's
// timers have stood still. It costs nothing in between: the kernel cancels a timer
// that is far from expiring (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)). The channel
// has room for one and is never closed; the watching ends with ctx.
func clockJumps(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching the clock: making a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	if _, err := arm(timer); err != nil {
		return nil, errors.Join(err, timer.Close())
	}
	jumps := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { _ = timer.Close() })
	go watchClock(timer, jumps) // Ends when the timer is closed
	return jumps, nil
}

// watchClock wakes at each jump until the timer is closed.
func watchClock(timer *os.File, jumps chan<- struct{}) {
	expired := make([]byte, 8)
	for jumped := false; ; {
		if !jumped {
			if _, err := timer.Read(expired); err != nil && !errors.Is(err, unix.ECANCELED) {
				return
			}
		}
		select {
		case jumps <- struct{}{}:
		default: // One is waiting already
		}
		var err error
		if jumped, err = arm(timer); err != nil {
			return
		}
	}
}

// farAway is when the timer would expire: a year from now, which would be one poll
// too many. A later time does not fit the time_t of all machines.
const farAway = 365 * 24 * time.Hour

// arm sets the timer anew, and says whether the clock has jumped since the jump before was
// read: the timer is set then all the same, and the kernel says so only here (fs/timerfd.c).
func arm(timer *os.File) (jumped bool, err error) {
	raw, err := timer.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("watching the clock: %w", err)
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(time.Now().Add(farAway).UnixNano())}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &at, nil)
	})
	if errors.Is(set, unix.ECANCELED) {
		jumped, set = true, nil
	}
	if err = errors.Join(err, set); err != nil {
		err = fmt.Errorf("watching the clock: setting a timer: %w", err)
	}
	return jumped, err
}
