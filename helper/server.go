package helper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
)

// User is whom the daemon runs as; packaging/netwatch.sysusers makes him.
const User = "netwatch"

const (
	// maxMessages is how much the helper reads of one connection, in bytes; a
	// path alone can have 4096.
	maxMessages = 16 << 10
	// maxTime is how long one connection may take, the daemon's note on disk
	// included.
	maxTime = 30 * time.Second
)

// Environment is the environment variable that holds the Server as text.
const Environment = "NETWATCH_GRANTED"

// A Server is the helper, and what it may do.
type Server struct {
	// Granted are the rotations that may be asked for.
	Granted []Grant `json:"granted"`
	// Accept are prefixes that count as public although they are not.
	Accept []netip.Prefix `json:"accept,omitempty"`
}

// A Grant is a file of a server and how our address may be written into it.
type Grant struct {
	servers.Target
	// Readers are users who have to be able to read it.
	Readers []access.Reader `json:"readers,omitempty"`
}

// String is the server as JSON, in one line.
func (s Server) String() string {
	text, _ := json.Marshal(s) // It has nothing that JSON cannot hold.
	return string(text)
}

// ParseServer takes what String gives. An empty text is a server that may do nothing.
func ParseServer(text string) (s Server, err error) {
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("reading what is granted: %w", err)
	}
	for _, g := range s.Granted {
		if err := g.Check(); err != nil {
			return s, fmt.Errorf("reading what is granted: %w", err)
		}
	}
	return s, nil
}

// Serve answers the one request of a connection, if there is one, and closes it. The
// error says who was at the other end, and what he was told.
func (s Server) Serve(ctx context.Context, conn *net.UnixConn) error {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	defer conn.Close()
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		return err
	}
	text := bufio.NewReader(io.LimitReader(conn, maxMessages))
	in, out := json.NewDecoder(text), json.NewEncoder(conn)
	in.DisallowUnknownFields()
	uid, err := checkPeer(conn)
	var result netwatch.Result
	if err == nil {
		if _, end := text.Peek(1); errors.Is(end, io.EOF) {
			return nil // There was no request: a daemon has helpers start in advance
		}
		result, err = s.answer(ctx, in, out)
	}
	if err != nil {
		result = netwatch.Failure(err)
	}
	a := answer{Outcome: result.Outcome, Detail: result.Detail}
	if result.Err != nil {
		a.Error, a.Hint = result.Err.Error(), netwatch.Hint(result.Err)
		err = fmt.Errorf("answering user %d: %w", uid, result.Err)
	}
	return errors.Join(err, out.Encode(a))
}

// checkPeer refuses everybody but root, the daemon's user and the helper's own.
func checkPeer(conn *net.UnixConn) (uid uint32, err error) {
	peer, err := access.PeerOf(conn)
	if err == nil && !mayAsk(peer.UID) {
		err = netwatch.WithHint(fmt.Errorf("user %d may not have files rewritten", peer.UID),
			"only root and the user "+User+" may")
	}
	return peer.UID, err
}

func mayAsk(uid uint32) bool {
	if uid == 0 || int(uid) == os.Geteuid() {
		return true
	}
	u, err := user.Lookup(User)
	return err == nil && u.Uid == strconv.FormatUint(uint64(uid), 10)
}

// answer reads the request and does it if it is granted.
func (s Server) answer(ctx context.Context, in *json.Decoder, out *json.Encoder) (netwatch.Result, error) {
	var q request
	if err := in.Decode(&q); err != nil {
		return netwatch.Result{}, fmt.Errorf("reading the request: %w", err)
	}
	g, err := s.check(q)
	if err != nil {
		return netwatch.Result{}, fmt.Errorf("rewriting %q: %w", q.File, err)
	}
	r := servers.Rotation{
		Target: g.Target, Public: netwatch.Addresses{}, Here: q.Here, Version: q.Version, Elsewhere: q.Elsewhere,
		Readers: g.Readers,
	}
	for family, a := range q.Public {
		r.Public[family] = netwatch.Address{Address: a, Own: q.Own[family]}
	}
	return r.Do(ctx, ready(in, out)), nil
}

// check returns the grant by which a request may be done, or says why it is refused.
func (s Server) check(q request) (Grant, error) {
	g, err := s.granted(q)
	if err != nil {
		return g, err
	}
	if len(q.Public) == 0 {
		return g, errors.New("the request has no public address")
	}
	for family, a := range q.Public {
		if err := netwatch.CheckPublic(a, s.Accept); err != nil {
			return g, err
		}
		if netwatch.FamilyOf(a) != family {
			return g, fmt.Errorf("%s is not an %s address", a, family)
		}
	}
	for family, a := range q.Own {
		if err := checkOwn(family, a, q.Public[family], s.Accept); err != nil {
			return g, err
		}
	}
	return g, nil
}

// granted finds the grant for exactly what is asked for.
func (s Server) granted(q request) (Grant, error) {
	for _, g := range s.Granted {
		if g.Equal(q.Target) {
			return g, nil
		}
	}
	return Grant{}, netwatch.WithHint(errors.New(
		"no step `rotate "+q.Server+"` with this file and these options was granted"),
		"if the configuration names it, netwatch grant grants it; systemctl reload netwatch does both")
}

// ready returns what is called before a change: it tells the other end what is about
// to change, and waits until that says go.
func ready(in *json.Decoder, out *json.Encoder) func(netwatch.Replacement) error {
	return func(w netwatch.Replacement) error {
		if err := out.Encode(answer{Changing: &w}); err != nil {
			return err
		}
		var p permit
		if err := in.Decode(&p); err != nil {
			return fmt.Errorf("waiting for netwatch: %w", err)
		}
		if !p.Go {
			return errors.New("netwatch does not want it any more")
		}
		return nil
	}
}
