package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/systemd"
)

// A drain is how long a program that is told to end may go on for those whom it serves:
// LiveKit waits for its callers without end, and takes new ones meanwhile (measured). Zero
// leaves that to the unit.
type drain time.Duration

// cutDrain takes `drain=DURATION` from the end of words.
func cutDrain(words []string) (rest []string, d drain, err error) {
	if len(words) == 0 {
		return words, 0, nil
	}
	last := len(words) - 1
	text, is := strings.CutPrefix(words[last], "drain=")
	if !is {
		return words, 0, nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span <= 0 || span > maxDrain {
		return nil, 0, fmt.Errorf("drain=%s is not understood: a duration up to %s, as 5s", text, maxDrain)
	}
	return words[:last], drain(span), nil
}

// maxDrain is less than the deadline of a run has.
const maxDrain = time.Hour

// bound sends another SIGTERM to the main process of a unit that is still ending after the
// drain; LiveKit ends at once of it (measured). What it returns waits until that is over,
// and says why it could not be done.
func (d drain) bound(ctx context.Context, bus *systemd.Bus, unit string) (stop func() error) {
	if d == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { // Ends with the job, or once the signal is sent
		select {
		case <-time.After(time.Duration(d)):
			err = hurry(ctx, bus, unit)
		case <-ctx.Done():
		}
	})
	return func() error {
		cancel()
		wg.Wait()
		return err
	}
}

// hurry tells a unit that is still ending to end at once.
func hurry(ctx context.Context, bus *systemd.Bus, unit string) error {
	u, err := bus.Open(ctx, unit, netwatch.Job{})
	if err != nil {
		return err
	}
	defer u.Close()
	st, err := u.State(ctx)
	if err == nil && st.Active == "deactivating" {
		err = u.Signal(ctx, unix.SIGTERM)
	}
	if errors.Is(err, context.Canceled) {
		return nil // It has ended meanwhile
	}
	return err
}
