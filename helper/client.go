package helper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
	"netwatch/servers"
)

// spareTime is how long to keep a connection for a rotation that is likely: its run
// may have to wait for another. The helper waits longer.
const spareTime = 10 * time.Second

// answerTime is how long to wait for a helper. A helper takes less, unless somebody
// makes the kernel hold it up for ever.
const answerTime = maxTime + 5*time.Second

// A Client asks the helper behind a socket.
type Client struct {
	// Socket is the path of the socket.
	Socket string

	mu     sync.Mutex
	spares []net.Conn // to helpers that have been asked nothing yet
}

// Prepare connects, so that systemd starts a helper now: the start takes ten times as
// long as rewriting a file.
func (c *Client) Prepare() {
	conn, err := net.Dial("unix", c.Socket) // Which waits for nobody
	if err != nil {
		return // Rotate will say why
	}
	c.keep(conn)
}

// keep holds a spare connection until it is taken, or for spareTime.
func (c *Client) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spares = append(c.spares, conn)
	time.AfterFunc(spareTime, func() {
		if c.take(conn) != nil {
			_ = conn.Close()
		}
	})
}

// take removes a connection from the spare ones, or any of them if conn is nil, and
// returns it; or nil if there is none.
func (c *Client) take(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, spare := range c.spares {
		if conn == nil || conn == spare {
			c.spares = slices.Delete(c.spares, i, i+1)
			return spare
		}
	}
	return nil
}

// Rotate has the helper do a rotation. It returns false if there is no socket, or
// this user may not connect to it: netwatch is then run by hand, or without the
// helper.
func (c *Client) Rotate(
	ctx context.Context, what servers.Rotation, changing func(netwatch.Replacement) error,
) (netwatch.Result, bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errors.New("it does not answer"))
	defer cancel()
	q := ask(what)
	if conn := c.take(nil); conn != nil {
		result, err := converse(ctx, conn, q, changing)
		switch {
		case ctx.Err() != nil && err != nil:
			return unanswered(q, err), true
		case err == nil && result.Outcome != netwatch.Failed:
			return result, true
		}
		// It had ended, or does not know what was granted since it started: another
		// one is asked, and does again what the first may have done.
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return netwatch.Result{}, false
	}
	if err != nil {
		err = fmt.Errorf("asking the helper to rewrite %s: %w", q.File, err)
		return netwatch.Failure(netwatch.WithHint(err, "systemctl restart netwatch-file.socket")), true
	}
	result, err := converse(ctx, conn, q, changing)
	if err != nil {
		result = unanswered(q, err)
	}
	return result, true
}

func unanswered(q request, err error) netwatch.Result {
	err = fmt.Errorf("waiting for the helper to rewrite %s: %w", q.File, err)
	return netwatch.Failure(netwatch.WithHint(err,
		"see journalctl -u 'netwatch-file@*' for why; "+
			"one that nothing ends is kept in the directory of the file by somebody who may read it: "+
			"fuser -v on that says who"))
}

// converse asks over a connection, and closes it.
func converse(ctx context.Context, conn net.Conn, q request,
	changing func(netwatch.Replacement) error,
) (netwatch.Result, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	result, err := talk(conn, q, changing)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return result, err
}

// maxHere is how many addresses of the machine the helper is told of: more would make
// a request that it refuses.
const maxHere = 256

// ask makes the request for a rotation. It leaves out an own address that the helper
// would refuse: most files need none.
func ask(r servers.Rotation) request {
	q := request{Target: r.Target, Here: r.Here[:min(len(r.Here), maxHere)], Version: r.Version, Elsewhere: r.Elsewhere}
	q.Public, q.Own = map[netwatch.Family]netip.Addr{}, map[netwatch.Family]netip.Addr{}
	for family, a := range r.Public {
		q.Public[family] = a.Address
		if checkOwn(family, a.Own, a.Address, nil) == nil {
			q.Own[family] = a.Own
		}
	}
	return q
}

// talk sends the request and reads until the result. An error is one of the
// conversation; what the helper could not do is in the Result.
func talk(conn io.ReadWriter, q request, changing func(netwatch.Replacement) error) (netwatch.Result, error) {
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	if err := out.Encode(q); err != nil {
		return netwatch.Result{}, err
	}
	for {
		var a answer
		if err := in.Decode(&a); errors.Is(err, io.EOF) {
			return netwatch.Result{}, errors.New("it ended without an answer")
		} else if err != nil {
			return netwatch.Result{}, err
		}
		if a.Changing == nil {
			return a.result(), nil
		}
		if changing != nil {
			if err := changing(*a.Changing); err != nil {
				return netwatch.Result{}, fmt.Errorf("noting that it changes: %w", err)
			}
		}
		if err := out.Encode(permit{Go: true}); err != nil {
			return netwatch.Result{}, err
		}
	}
}

// maxText is how many bytes of a text are kept. Texts have names in them that
// strangers chose, and are remembered.
const maxText = 2 << 10

func bounded(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// result makes a Result of an answer.
func (a answer) result() netwatch.Result {
	if a.Outcome != netwatch.Failed {
		return netwatch.Result{Outcome: a.Outcome, Detail: a.Detail}
	}
	err := errors.New(bounded(a.Error))
	if a.Hint != "" {
		err = netwatch.WithHint(err, bounded(a.Hint))
	}
	return netwatch.Failure(err)
}
