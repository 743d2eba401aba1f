package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"netwatch"
	"netwatch/hooks"
)

// maxBody is how many bytes a request may have, and maxFields how many fields an event:
// more than a true one has. They bound the memory that history takes.
const (
	maxBody   = 8 << 10
	maxFields = 32
)

// maxHeader is the size of a request's headers in bytes that no true one reaches.
const maxHeader = 4 << 10

// callerTime is how long a caller may take to send the whole of a request, or to
// take a line of the answer.
const callerTime = 5 * time.Second

// maxWaiting is how many callers may wait for the runs of their events at the same
// time. Callers without privileges do not count in it: maxOthersWaiting is how many
// of them may. Each holds a connection and up to followerBuffer entries, about 80 KB,
// for as long as a limit holds the run.
const (
	maxWaiting       = 64
	maxOthersWaiting = 8
)

// The errors of Fire that are the caller's.
var (
	// ErrUnknownEvent says that no rule names the event.
	ErrUnknownEvent = errors.New("no rule names this event")
	// ErrNotOfSource says that the source does not tell of the event.
	ErrNotOfSource = errors.New("this source does not fire this event")
)

// A Server serves a Daemon.
type Server struct {
	*http.Server
	arrivals *arrivals
}

// AwaitArrivals returns when every caller who is connected and has sent a request has
// had an answer, or when ctx is done. Call it when the listener is closed and Serve has
// returned, and before the daemon begins to refuse events.
func (s *Server) AwaitArrivals(ctx context.Context) { s.arrivals.wait(ctx) }

// Serve accepts connections on all sockets until they are closed or one fails. Then
// it closes the others, and returns the first error.
func (s *Server) Serve(sockets *Sockets) error {
	first := make(chan error, 1)
	var all sync.WaitGroup
	for _, l := range sockets.all {
		all.Go(func() {
			select {
			case first <- s.Server.Serve(l):
			default:
			}
			_ = sockets.Close() // The others end by that
		})
	}
	all.Wait()
	return <-first
}

// NewServer serves d. The caller calls Serve with sockets, and Shutdown.
func NewServer(d Daemon) *Server {
	s := server{
		daemon: d, waiting: make(chan struct{}, maxWaiting), othersWaiting: make(chan struct{}, maxOthersWaiting),
		arrivals: newArrivals(), pace: &pace{users: map[uint32]*rate.Limiter{}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/fire", s.fire)
	mux.HandleFunc("POST /v1/dismiss", s.dismiss)
	mux.HandleFunc("POST /v1/probe", s.probe)
	mux.HandleFunc("POST /v1/verify", s.verify)
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/history", s.history)
	mux.HandleFunc("GET /metrics", s.metrics)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = noticedWriter{w, func() { s.arrivals.answered(r.Context()) }}
		if !privileged(r) {
			w.Header().Set("Connection", "close") // The next request is one more caller
		}
		if err := whole(w, r); err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
			return
		}
		mux.ServeHTTP(w, r)
	})
	return &Server{&http.Server{
		Handler: handler, ConnContext: withPeer, ConnState: s.arrivals.watch, MaxHeaderBytes: maxHeader,
		ReadTimeout: callerTime, WriteTimeout: callerTime, IdleTimeout: time.Minute, DisableGeneralOptionsHandler: true,
	}, s.arrivals}
}

type server struct {
	daemon Daemon
	// waiting has an element for each caller who waits for runs, othersWaiting for
	// each of those without privileges.
	waiting, othersWaiting chan struct{}
	arrivals               *arrivals
	pace                   *pace
}

// privileged says whether the peer of a request may do everything.
func privileged(r *http.Request) bool {
	p, known := r.Context().Value(peerKey{}).(peer)
	return known && p.privileged()
}

// whole reads all of a request before anything is done for the caller: he must send
// it in time. Then he may wait for the answer.
func whole(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	if !utf8.Valid(body) { // Each wrong byte would become three
		return errors.New("it is no UTF-8")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}

func (s server) fire(w http.ResponseWriter, r *http.Request) {
	var req Request
	if err := read(r, &req); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
		return
	}
	if err := req.check(); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
		return
	}
	if err := s.permit(r.Context(), req); err != nil {
		refuse(w, http.StatusForbidden, err)
		return
	}
	if p, _ := r.Context().Value(peerKey{}).(peer); !req.DryRun {
		if req.UID = p.UID; !p.privileged() {
			s.pace.wait(p.UID, s.arrivals.closing)
		}
	}
	if req.DryRun || req.NoWait {
		s.accept(w, r, req)
		return
	}
	waiting := s.waiting
	if !privileged(r) {
		waiting = s.othersWaiting
	}
	select {
	case waiting <- struct{}{}:
		defer func() { <-waiting }()
		s.accept(w, r, req)
	default:
		err := fmt.Errorf("%d callers wait for their runs already", cap(waiting))
		refuse(w, http.StatusTooManyRequests, netwatch.WithHint(err,
			"netwatch status shows what they wait for; with --no-wait the event is accepted all the same"))
	}
}

// accept hands the event to the daemon, and sends what becomes of it to a caller who
// waits for that.
func (s server) accept(w http.ResponseWriter, r *http.Request, req Request) {
	var entries chan netwatch.Entry
	if !req.DryRun && !req.NoWait {
		entries = make(chan netwatch.Entry, followerBuffer)
	}
	// The run knows the caller until it ends, and he may be gone long before.
	var there atomic.Pointer[chan netwatch.Entry]
	there.Store(&entries)
	defer there.Store(nil)
	accepted, err := s.daemon.Fire(r.Context(), req, func(e netwatch.Entry) {
		if to := there.Load(); to != nil {
			select {
			case *to <- e:
			default: // The caller reads too slowly; history has it
			}
		}
	})
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	if entries == nil {
		answer(w, http.StatusOK, accepted)
		return
	}
	out := newLines(w)
	out.send(accepted)
	follow(r, out, accepted, entries)
}

func (s server) dismiss(w http.ResponseWriter, r *http.Request) {
	var req Dismissal
	if err := read(r, &req); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
		return
	}
	if p, _ := r.Context().Value(peerKey{}).(peer); !privileged(r) {
		refuse(w, http.StatusForbidden, notPermitted(p, "dismiss a failure"))
		return
	}
	if err := s.daemon.Dismiss(req.Rule); err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	answer(w, http.StatusOK, req)
}

// probe has the daemon ask. Whom it asks is not for everyone to know, nor to trouble.
func (s server) probe(w http.ResponseWriter, r *http.Request) {
	if p, _ := r.Context().Value(peerKey{}).(peer); !privileged(r) {
		refuse(w, http.StatusForbidden, notPermitted(p, "have the other machines asked"))
		return
	}
	answer(w, http.StatusOK, s.daemon.Probe(r.Context()))
}

// verify has other machines asked, and sends what came of each server as it is known.
func (s server) verify(w http.ResponseWriter, r *http.Request) {
	if p, _ := r.Context().Value(peerKey{}).(peer); !privileged(r) {
		refuse(w, http.StatusForbidden, notPermitted(p, "have the other machines asked"))
		return
	}
	out := newLines(w)
	s.daemon.Verify(r.Context(), func(v Verified) { out.send(v) })
}

// read reads the body of a request, which is one JSON value.
func read(r *http.Request, req any) error {
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(req); err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the request")
	}
	return nil
}

// check says what is wrong with a request.
func (r Request) check() error {
	if r.Event == "" {
		return errors.New("the event is missing")
	}
	if len(r.Fields) > maxFields {
		return fmt.Errorf("the event has %d fields, and may have %d", len(r.Fields), maxFields)
	}
	for key, value := range r.Fields {
		if err := netwatch.CheckField(key); err != nil {
			return err
		}
		if strings.ContainsRune(key+value, 0) { // Programs could not be given it
			return fmt.Errorf("the field %q has a NUL in it", key)
		}
	}
	return nil
}

// permit says why the peer of a connection may not have what it asks for. A dry run
// is for everyone, as the status is, which tells as much.
func (s server) permit(ctx context.Context, req Request) error {
	p, known := ctx.Value(peerKey{}).(peer)
	switch {
	case req.DryRun:
		return nil
	case !known:
		return errors.New("the kernel does not say who asks")
	case p.privileged() || s.daemon.MayFire(p.UID, req.Event):
		return nil
	}
	if req.Source != "" {
		return netwatch.WithHint(notPermitted(p, "fire "+req.Event),
			"name this user in users of [source."+req.Source+"], and reload netwatch")
	}
	return notPermitted(p, "fire "+req.Event)
}

// follow sends entries until each rule's run has ended or failed.
func follow(r *http.Request, out lines, a Accepted, entries <-chan netwatch.Entry) {
	for left := len(a.Rules); left > 0; {
		select {
		case e := <-entries:
			out.send(e)
			if e.RunEnded() {
				left--
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (s server) status(w http.ResponseWriter, r *http.Request) {
	status := s.daemon.Status()
	if !privileged(r) {
		status = status.public()
	}
	answer(w, http.StatusOK, status)
}

func (s server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", metricsType)
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callerTime)); err == nil {
		_ = s.daemon.Metrics().write(w, s.daemon.Status()) // A caller that does not take it is gone
	}
}

// linesType is the Content-Type of JSON values, one on a line.
const linesType = "application/x-ndjson"

// lines sends JSON values, one on a line, each at once.
type lines struct {
	to      io.Writer
	encoder *json.Encoder
	control *http.ResponseController
}

func newLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", linesType)
	l := lines{w, json.NewEncoder(w), http.NewResponseController(w)}
	if l.control.SetWriteDeadline(time.Now().Add(callerTime)) == nil {
		_ = l.control.Flush() // A follower sees at once that it is connected
	}
	return l
}

// send sends a value, and says whether the caller took it in time.
func (l lines) send(v any) bool {
	return l.control.SetWriteDeadline(time.Now().Add(callerTime)) == nil &&
		l.encoder.Encode(v) == nil && l.control.Flush() == nil
}

// write sends lines that are written already, and says whether the caller took them in
// time.
func (l lines) write(text []byte) bool {
	if l.control.SetWriteDeadline(time.Now().Add(callerTime)) != nil {
		return false
	}
	_, err := l.to.Write(text)
	return err == nil && l.control.Flush() == nil
}

// answer sends a whole answer. A caller who does not take it in time is gone.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callerTime)) == nil {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, problem{err.Error(), netwatch.Hint(err)})
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnknownEvent):
		return http.StatusNotFound
	case errors.Is(err, hooks.ErrNothingFailed):
		return http.StatusConflict
	case errors.Is(err, ErrNotOfSource):
		return http.StatusBadRequest
	case errors.Is(err, hooks.ErrDraining):
		return http.StatusServiceUnavailable
	case errors.Is(err, unix.ENOSPC):
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}
