package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"netwatch"
	"netwatch/control"
	"netwatch/sources"
	"netwatch/state"
)

// Edges are where the daemon touches the world. What is nil is that of this machine.
type Edges struct {
	// Sources are those of the sources.
	Sources sources.Edges
	// State opens and locks the directory of the state.
	State func(dir string) (state.Directory, error)
	// Callers makes the way by which callers come in.
	Callers func(path string) (Callers, error)
	// Read reads a file of at most so many bytes.
	Read func(file string, most int64) ([]byte, error)
	// Random is evenly from 0 to 1; the pauses between tries go by it.
	Random func() float64
}

// Callers are who asks the daemon, as over the control socket.
type Callers interface {
	// Admit says which users may speak for sources.
	Admit(users []uint32) error
	// Serve serves them until Close. Any other end is an error on the channel.
	Serve(d control.Daemon) <-chan error
	// Close has nobody come any more, and returns when those who are connected have handed
	// over their events.
	Close()
	// HangUp ends all that is left.
	HangUp() error
}

// read is how files of servers are read.
func (e Edges) read() func(file string, most int64) ([]byte, error) {
	if e.Read != nil {
		return e.Read
	}
	return netwatch.ReadRegular
}

// openState opens the state.
func (e Edges) openState(dir string) (s *state.Store, damage, err error) {
	if e.State == nil {
		return state.Open(dir)
	}
	d, err := e.State(dir)
	if err != nil {
		return nil, nil, err
	}
	return state.OpenIn(d)
}

// listen lets callers in.
func (e Edges) listen(path string) (Callers, error) {
	if e.Callers != nil {
		return e.Callers(path)
	}
	sockets, err := control.Listen(path)
	if err != nil {
		return nil, err
	}
	return &doors{Sockets: sockets}, nil
}

// doors are the control socket and its server.
type doors struct {
	*control.Sockets
	server *control.Server
	served chan error
	ended  chan struct{}
}

// Serve serves until the sockets are closed.
func (s *doors) Serve(d control.Daemon) <-chan error {
	s.server, s.served, s.ended = control.NewServer(d), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(s.Sockets); !errors.Is(err, http.ErrServerClosed) {
			s.served <- err
		}
	}()
	return s.served
}

// hangUpTime is how long to wait for callers who have just asked and are being
// answered. Those who follow a run or the history are not waited for.
const hangUpTime = 200 * time.Millisecond

// handOverTime is how long callers who are connected may take to hand over an event.
const handOverTime = time.Second

// Close closes the sockets. What comes now waits for the next daemon if systemd holds
// them; what has come is still accepted.
func (s *doors) Close() {
	_ = s.Sockets.Close()
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	select {
	case <-s.ended:
		s.server.AwaitArrivals(ctx)
	case <-ctx.Done():
	}
}

// HangUp ends the server and its connections.
func (s *doors) HangUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTime)
	defer cancel()
	if s.server.Shutdown(ctx) == nil {
		return nil
	}
	return s.server.Close()
}
