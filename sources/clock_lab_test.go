//go:build lab

package sources

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setClock sets the clock to what it is.
func setClock(t *testing.T) {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatal(err)
	}
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatalf("setting the clock needs root: %v", err)
	}
}

// jump sets the clock, and waits until that is noticed.
func jump(t *testing.T, jumps <-chan struct{}) {
	t.Helper()
	setClock(t)
	select {
	case <-jumps:
	case <-time.After(5 * time.Second):
		t.Fatal("the jump was not noticed")
	}
}

// quiet waits until nothing wakes any more, and fails if that does not come.
func quiet(t *testing.T, jumps <-chan struct{}) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		select {
		case <-jumps:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
	t.Fatal("it wakes without a jump")
}

// Setting the clock, though to what it is, wakes; twice, so that the timer is seen to be
// armed anew.
func TestClockJump(t *testing.T) {
	jumps, err := clockJumps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jump(t, jumps)
	jump(t, jumps)
	quiet(t, jumps)
}

// A jump before the timer is set anew is told by that alone: it is set, and has jumped.
func TestClockJumpWhileArming(t *testing.T) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	defer timer.Close()
	for _, want := range []bool{false, true, false} {
		if want {
			setClock(t)
		}
		if jumped, err := arm(timer); err != nil || jumped != want {
			t.Fatalf("the clock was set: %v; jumped: %v (%v)", want, jumped, err)
		}
	}
	jumps := make(chan struct{}, 1)
	setClock(t)
	go watchClock(timer, jumps)
	quiet(t, jumps)
	jump(t, jumps)
}
