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
	"time"

	"netwatch"
	"netwatch/actions"
)

// A Client asks the helper behind a socket.
type Client struct {
	// Socket is the path of the socket.
	Socket string
}

// Rotate is an actions.Rotate. There is nobody to ask when there is no socket,
// or it is not for this user: netwatch is then run by hand, or without helper.
func (c Client) Rotate(ctx context.Context, r *actions.Rotation, public map[netwatch.Family]netip.Addr, changing func(netwatch.Rewrite) error) (netwatch.Result, bool) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return netwatch.Result{}, false
	}
	if err != nil {
		err = fmt.Errorf("asking the helper to rewrite %s: %w", r.File, err)
		return netwatch.Failure(netwatch.WithHint(err, "systemctl restart netwatch-file.socket")), true
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	result, err := talk(conn, ask(r, public), changing)
	if err == nil {
		return result, true
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = fmt.Errorf("waiting for the helper to rewrite %s: %w", r.File, err)
	return netwatch.Failure(netwatch.WithHint(err, "see journalctl -u 'netwatch-file@*'")), true
}

// ask is the request for a rotation. An own address that the helper would refuse
// is left out: most files do not need one.
func ask(r *actions.Rotation, public map[netwatch.Family]netip.Addr) request {
	q := request{File: string(r.File), Private: r.Private, Public: public, Own: map[netwatch.Family]netip.Addr{}}
	for _, family := range netwatch.Families {
		if a := r.Local(family, public[family]); checkOwn(family, a, public[family], nil) == nil {
			q.Own[family] = a
		}
	}
	return q
}

// talk is the conversation. An error is one of the conversation itself; what
// the helper could not do is a Result.
func talk(conn io.ReadWriter, q request, changing func(netwatch.Rewrite) error) (netwatch.Result, error) {
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

// result is what the answer says.
func (a answer) result() netwatch.Result {
	if a.Outcome != netwatch.Failed {
		return netwatch.Result{Outcome: a.Outcome, Detail: a.Detail}
	}
	err := errors.New(a.Error)
	if a.Hint != "" {
		err = netwatch.WithHint(err, a.Hint)
	}
	return netwatch.Failure(err)
}
