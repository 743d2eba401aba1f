package control

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// lookPause is how often it is looked whether all callers have been answered.
const lookPause = 5 * time.Millisecond

// Arrivals are the connections whose first request is not answered yet. A caller
// who hands over an event may be gone by then, as OpenVPN's hook, and counts on it.
type arrivals struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	// hurry is closed when nobody is to be slowed any more.
	hurry chan struct{}
}

func newArrivals() *arrivals { return &arrivals{open: map[net.Conn]bool{}, hurry: make(chan struct{})} }

// watch is the server's ConnState: a connection that is idle or closed has had
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

// answered notes that an answer has begun, which may go on for long.
func (a *arrivals) answered(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(net.Conn); ok {
		a.watch(c, http.StateIdle)
	}
}

// wait slows nobody any more, and returns when none is left or ctx is done.
func (a *arrivals) wait(ctx context.Context) {
	close(a.hurry)
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

// Unwrap is for http.ResponseController.
func (w noticedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
