//go:build lab

package sources

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Setting the clock, though to what it is, wakes; twice, so that the timer is
// seen to be armed anew.
func TestClockJump(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	jumps, err := clockJumps(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatalf("setting the clock needs root: %v", err)
		}
		select {
		case <-jumps:
		case <-time.After(5 * time.Second):
			t.Fatal("the jump was not noticed")
		}
	}
	select {
	case <-jumps:
		t.Error("it wakes without a jump")
	case <-time.After(200 * time.Millisecond):
	}
}
