package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// The errors of a Client, beside those of the daemon itself.
var (
	// ErrUnreachable says that the daemon does not run or does not answer.
	ErrUnreachable = errors.New("the daemon cannot be reached")
	// ErrNotPermitted says that the user may not do what was asked.
	ErrNotPermitted = errors.New("not permitted")
)

// A Client speaks to the daemon at a socket.
type Client struct {
	path string
	http http.Client
}

// patience is how long a daemon may take to begin its answer: longer than it
// takes to look at all sources and to write to a slow disk.
const patience = 10 * time.Second

// queueTime is how long a caller tries again while the queue of the socket is full.
const queueTime = 5 * time.Second

// NewClient makes a client of the daemon at a socket. It does not connect yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, path) }
	return &Client{path, http.Client{Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true, ResponseHeaderTimeout: patience,
	}}}
}

// connect connects to the first of the sockets that lets us in. If all are full it
// tries again for a while.
func connect(ctx context.Context, path string) (c net.Conn, err error) {
	for until := time.Now().Add(queueTime); ; {
		for _, door := range doors(path) {
			if c, err = new(net.Dialer).DialContext(ctx, "unix", door); err == nil {
				return c, nil
			}
		}
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(until) {
			return nil, err
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Fire sends a request. It calls accepted with the first line of the answer, and each
// with every entry after it.
func (c *Client) Fire(ctx context.Context, r Request, accepted func(Accepted), each func(netwatch.Entry)) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	in, err := c.call(ctx, http.MethodPost, "/v1/fire", body)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := json.NewDecoder(in)
	var a Accepted
	if err := lines.Decode(&a); err != nil {
		return broken(ctx, err)
	}
	accepted(a)
	return entries(ctx, lines, each)
}

// Dismiss forgets that a rule failed for good.
func (c *Client) Dismiss(ctx context.Context, rule string) error {
	body, err := json.Marshal(Dismissal{rule})
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	in, err := c.call(ctx, http.MethodPost, "/v1/dismiss", body)
	if err != nil {
		return err
	}
	return in.Close()
}

// Status asks how the daemon stands.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	in, err := c.call(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return s, err
	}
	defer in.Close()
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return s, broken(ctx, err)
	}
	return s, nil
}

// Probe has the daemon ask what only it can ask.
func (c *Client) Probe(ctx context.Context) (p Probed, err error) {
	in, err := c.call(ctx, http.MethodPost, "/v1/probe", nil)
	if err != nil {
		return p, err
	}
	defer in.Close()
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return p, broken(ctx, err)
	}
	return p, nil
}

// Verify has the daemon ask other machines how our servers are from outside, and calls each
// with what came of one.
func (c *Client) Verify(ctx context.Context, each func(Verified)) error {
	in, err := c.call(ctx, http.MethodPost, "/v1/verify", nil)
	if err != nil {
		return err
	}
	defer in.Close()
	return entries(ctx, json.NewDecoder(in), each)
}

// entries reads lines until there are no more.
func entries[T any](ctx context.Context, lines *json.Decoder, each func(T)) error {
	for {
		var e T
		switch err := lines.Decode(&e); {
		case err == nil:
			each(e)
		case errors.Is(err, io.EOF):
			return nil
		default:
			return broken(ctx, err)
		}
	}
}

// broken is the error if an answer ended too early.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w any more: it has ended", ErrUnreachable)
	}
	return fmt.Errorf("%w: reading its answer: %w", ErrUnreachable, err)
}

// call returns the body of a 200 answer, which the caller closes.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	resp, err := c.ask(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// ask returns a 200 answer, whose body the caller closes. If the daemon is about to end,
// the request goes to the next one, for which systemd may already hold the socket.
func (c *Client) ask(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, body)
	switch {
	case err == nil && resp.StatusCode == http.StatusServiceUnavailable:
		_ = resp.Body.Close()
		resp, err = c.send(ctx, method, path, body)
	case cutShort(ctx, err):
		resp, err = c.send(ctx, method, path, body)
	}
	if err != nil {
		return nil, c.unreached(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// cutShort says whether the daemon took the connection and ended before it could
// answer. The request is sent again: if the daemon had accepted the event all the
// same, it is accepted twice, which is harmless.
func cutShort(ctx context.Context, err error) bool {
	netErr, dial := net.Error(nil), new(net.OpError)
	switch {
	case err == nil, ctx.Err() != nil:
		return false
	case errors.As(err, &netErr) && netErr.Timeout():
		return false
	}
	return !errors.As(err, &dial) || dial.Op != "dial"
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://netwatch"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	return c.http.Do(req)
}

// unreached says why there was no answer, with its remedy.
func (c *Client) unreached(ctx context.Context, err error) error {
	timeout := net.Error(nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.EAGAIN):
		return overrun(errFull)
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return overrun(errBroken)
	case errors.As(err, &timeout) && timeout.Timeout():
		return netwatch.WithHint(fmt.Errorf("%w: it does not answer", ErrUnreachable),
			"netwatch doctor says whether it cannot start; if it hangs, "+netwatch.Restarting("netwatch")+
				": what it has accepted it then does")
	case errors.Is(err, unix.EACCES):
		return netwatch.WithHint(fmt.Errorf("%w: connecting to %s: %w", ErrNotPermitted, c.path, unix.EACCES),
			"see that every directory above the socket may be entered")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return netwatch.WithHint(fmt.Errorf("%w: nobody listens on %s", ErrUnreachable, c.path),
			"start it anew: "+netwatch.Restarting("netwatch.socket")+" (if it does not "+
				"start, netwatch check and "+netwatch.Logged()+" say why); or name its configuration with -c")
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// overrun is the error if there was no room for the caller, or no answer.
func overrun(why error) error {
	return netwatch.WithHint(fmt.Errorf("%w: %w", ErrUnreachable, why),
		"it hangs ("+netwatch.Restarting("netwatch")+"), ends ("+netwatch.Logged()+" says why), or many connect to it "+
			"(as root, top and ss -xp show who)")
}

// refusal is the error that an answer other than 200 holds.
func refusal(resp *http.Response) error {
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Error == "" {
		p.Error = resp.Status
	}
	err := error(remoteError{p.Error, sentinels[resp.StatusCode]})
	if p.Hint == "" {
		return err
	}
	return netwatch.WithHint(err, p.Hint)
}

// sentinels are the errors that callers tell apart, by the status of the answer.
var sentinels = map[int]error{
	http.StatusForbidden:          ErrNotPermitted,
	http.StatusNotFound:           ErrUnknownEvent,
	http.StatusServiceUnavailable: ErrUnreachable,
}

// A remoteError is one of the sentinels in the words of the daemon.
type remoteError struct {
	text string
	kind error
}

func (e remoteError) Error() string { return e.text }
func (e remoteError) Unwrap() error { return e.kind }
