//go:build lab

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"netwatch"
)

// A follower hears what netwatch tells, from the start of the daemon on.
type follower struct {
	mu      sync.Mutex
	entries []netwatch.Entry
	more    chan struct{} // closed and replaced with each entry
	ended   error
}

// follow follows the history until the test or the daemon ends.
func follow(t *testing.T) *follower {
	t.Helper()
	f := &follower{more: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	// nsenter starts it as a child, which would outlive nsenter.
	cmd := server.Command(ctx, "setpriv", "--pdeathsig", "KILL", "netwatch", "history", "-f", "--json")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	done := make(chan struct{})
	go func() { // Ends when its output does.
		defer close(done)
		lines := json.NewDecoder(out)
		for {
			var e netwatch.Entry
			if err := lines.Decode(&e); err != nil {
				f.end(errors.Join(errors.New("the history has ended"), err))
				_ = cmd.Wait() // Killed, or ended with the daemon.
				return
			}
			f.add(e)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func (f *follower) add(e netwatch.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, e)
	close(f.more)
	f.more = make(chan struct{})
}

func (f *follower) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = err
	close(f.more)
	f.more = make(chan struct{})
}

// all are the entries so far of which is says yes, and a channel that is closed
// when there may be more.
func (f *follower) all(is func(netwatch.Entry) bool) (found []netwatch.Entry, more <-chan struct{}, ended error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.entries {
		if is(e) {
			found = append(found, e)
		}
	}
	return found, f.more, f.ended
}

// wait waits until there are n entries of which is says yes, and returns all
// that there are.
func (f *follower) wait(ctx context.Context, n int, is func(netwatch.Entry) bool) ([]netwatch.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		found, more, ended := f.all(is)
		switch {
		case len(found) >= n:
			return found, nil
		case ended != nil:
			return found, ended
		}
		select {
		case <-more:
		case <-ctx.Done():
			return found, fmt.Errorf("waiting for entry %d of the history, there are %d: %w", n, len(found), context.Cause(ctx))
		}
	}
}

// aboutFile says whether an entry is an event about a file.
func aboutFile(event, file string) func(netwatch.Entry) bool {
	return func(e netwatch.Entry) bool {
		return e.Kind == netwatch.EntryEvent && e.Event == event && e.Fields["file"] == file
	}
}

// ended says whether an entry is the end of a run of a rule whose newest event
// was of that name.
func ended(event string) func(netwatch.Entry) bool {
	return func(e netwatch.Entry) bool { return e.Kind == netwatch.EntryRun && e.Event == event }
}
