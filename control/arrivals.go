package control

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// lookPause is the pause between two looks whether all callers have been answered.
const lookPause = 5 * time.Millisecond

// Arrivals are the connections whose first request has not been answered yet. Their
// callers count on being heard, also those that do not wait for the answer, as
// OpenVPN's hook.
type arrivals struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	// closing is closed when the daemon ends: from then on nobody is slowed.
	closing chan struct{}
}

func newArrivals() *arrivals {
	return &arrivals{open: map[net.Conn]bool{}, closing: make(chan struct{})}
}

// watch is the ConnState of the server: a connection that is idle or closed has had
// its answer.
func (a *arrivals) watch(c net.Conn, s http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch s {
	case http.StateNew:
		a.open[c] = true
	case http.StateIdle, http.StateClosed, http.StateHijacked:
		delete(a.open, c)
	}
}

// answered notes that an answer has begun. It may go on for long.
func (a *arrivals) answered(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(net.Conn); ok {
		a.watch(c, http.StateIdle)
	}
}

// wait has all callers served at once who are being slowed, and returns when everybody
// has been answered or ctx is done.
func (a *arrivals) wait(ctx context.Context) {
	close(a.closing)
	for {
		a.mu.Lock()
		left := len(a.open)
		a.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return
		}
	}
}

// A noticedWriter says when its answer begins.
type noticedWriter struct {
	http.ResponseWriter
	begun func()
}

func (w noticedWriter) Write(b []byte) (int, error) {
	w.begun()
	return w.ResponseWriter.Write(b)
}

// Unwrap is what http.ResponseController needs.
func (w noticedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
