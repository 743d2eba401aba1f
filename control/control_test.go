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
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"netwatch"
	"netwatch/access"
	"netwatch/history"
	"netwatch/hooks"
	"netwatch/state"
)

func TestMain(m *testing.M) {
	// net/http lingers half a second over a connection that it closes first.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// stub is a daemon that answers as a test tells it.
type stub struct {
	fire    func(ctx context.Context, r Request, watch func(netwatch.Entry)) (Accepted, error)
	history *history.Log
	mayFire func(uid uint32, event string) bool
	metrics *Metrics
	status  Status
	probed  Probed
	// verified is what other machines saw.
	verified []Verified
}

func (s stub) MayFire(uid uint32, event string) bool { return s.mayFire(uid, event) }
func (s stub) Dismiss(rule string) error {
	if rule != "broken" {
		return hooks.ErrNothingFailed
	}
	return nil
}

func (s stub) Fire(ctx context.Context, r Request, watch func(netwatch.Entry)) (Accepted, error) {
	return s.fire(ctx, r, watch)
}
func (s stub) Probe(context.Context) Probed { return s.probed }
func (s stub) Verify(_ context.Context, each func(Verified)) {
	for _, v := range s.verified {
		each(v)
	}
}
func (s stub) Status() Status        { return s.status }
func (s stub) Metrics() *Metrics     { return s.metrics }
func (s stub) History() *history.Log { return s.history }

// serve serves d on a socket until the test ends.
func serve(t *testing.T, d Daemon) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s", "netwatch.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server, done := NewServer(d), make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return path
}

func entry(kind string, o netwatch.Outcome) netwatch.Entry {
	return netwatch.Entry{Kind: kind, Outcome: o, Rule: "r"}
}

// fired is what a client gets for a request.
func fired(t *testing.T, path string, r Request) (Accepted, []string, error) {
	t.Helper()
	var a Accepted
	var got []string
	err := NewClient(path).Fire(t.Context(), r, func(first Accepted) { a = first },
		func(e netwatch.Entry) { got = append(got, e.Kind+" "+string(e.Outcome)) })
	return a, got, err
}

// What other machines saw comes one after the other.
func TestVerified(t *testing.T) {
	want := []Verified{
		{Server: "coturn", File: "/f", Outcome: netwatch.Failed, Error: "closed", Hint: "open it"},
		{Server: "eturnal", File: "/g", Outcome: netwatch.Unchanged, Detail: "right"},
	}
	var got []Verified
	err := NewClient(serve(t, stub{verified: want})).Verify(t.Context(), func(v Verified) { got = append(got, v) })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// An answer goes on until each rule's run has ended; one that is held has not.
func TestFireFollowsEachRunToItsEnd(t *testing.T) {
	path := serve(t, stub{fire: func(_ context.Context, r Request, watch func(netwatch.Entry)) (Accepted, error) {
		for _, e := range []netwatch.Entry{
			entry(netwatch.EntryStep, netwatch.Held), entry(netwatch.EntryRun, netwatch.Held), entry(netwatch.EntryRun,
				netwatch.Changed),
			entry(netwatch.EntryRun, netwatch.Failed), entry(netwatch.EntryRun, netwatch.Changed),
		} {
			watch(e)
		}
		return Accepted{ID: "1", Event: r.Event + r.Fields["k"], Rules: []Plan{{Name: "r"}, {Name: "q"}}}, nil
	}})
	a, got, err := fired(t, path, Request{Event: "x", Fields: map[string]string{"k": "v"}})
	if err != nil || a.Event != "xv" {
		t.Errorf("accepted %+v, %v", a, err)
	}
	if diff := cmp.Diff([]string{"step held", "run held", "run changed", "run failed"}, got); diff != "" {
		t.Error(diff)
	}
	for _, r := range []Request{{Event: "x", NoWait: true}, {Event: "x", DryRun: true}} {
		if _, got, err := fired(t, path, r); err != nil || len(got) > 0 {
			t.Errorf("%+v: %v, %v", r, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		err  error
		kind error
		hint string
	}{
		{fmt.Errorf("%w: y; rules name x", ErrUnknownEvent), ErrUnknownEvent, ""},
		{hooks.ErrDraining, ErrUnreachable, ""},
		{netwatch.WithHint(errors.New("the disk is full"), "make room"), nil, "make room"},
	}
	for _, c := range cases {
		path := serve(t, stub{fire: func(context.Context, Request, func(netwatch.Entry)) (Accepted,
			error,
		) {
			return Accepted{}, c.err
		}})
		_, _, err := fired(t, path, Request{Event: "y"})
		if err == nil || err.Error() != c.err.Error() || netwatch.Hint(err) != c.hint || c.kind != nil &&
			!errors.Is(err, c.kind) {
			t.Errorf("%v came as %v, hint %q", c.err, err, netwatch.Hint(err))
		}
	}
}

func TestDismiss(t *testing.T) {
	client := NewClient(serve(t, stub{}))
	if err := client.Dismiss(t.Context(), "broken"); err != nil {
		t.Error(err)
	}
	if err := client.Dismiss(t.Context(), "well"); err == nil || err.Error() != hooks.ErrNothingFailed.Error() {
		t.Errorf("a rule that has not failed: %v", err)
	}
}

// A daemon that ends sends its callers to the next one.
func TestEndingDaemon(t *testing.T) {
	calls := 0
	path := serve(t, stub{fire: func(_ context.Context, r Request, _ func(netwatch.Entry)) (Accepted, error) {
		if calls++; calls == 1 {
			return Accepted{}, hooks.ErrDraining
		}
		return Accepted{ID: "second", Event: r.Event}, nil
	}})
	if a, _, err := fired(t, path, Request{Event: "x"}); err != nil || a.ID != "second" {
		t.Errorf("%+v, %v", a, err)
	}
}

// One that is killed before it can answer is asked once more too.
func TestKilledDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	second := NewServer(stub{fire: func(_ context.Context, r Request, _ func(netwatch.Entry)) (Accepted, error) {
		return Accepted{ID: "second", Event: r.Event}, nil
	}})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
		_ = second.Serve(newSockets(path, l.(*net.UnixListener)))
	}()
	if a, _, err := fired(t, path, Request{Event: "x"}); err != nil || a.ID != "second" {
		t.Errorf("%+v, %v", a, err)
	}
	_ = second.Close()
	<-ended
}

// Who hands over an event and goes counts on it, also when the daemon ends at
// that moment; users without privileges are not slowed any more then.
func TestAwaitArrivals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	entered, goOn, fired := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := NewServer(stub{fire: func(context.Context, Request, func(netwatch.Entry)) (Accepted, error) {
		close(entered)
		<-goOn
		close(fired)
		return Accepted{ID: "i"}, nil
	}})
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	c := dial(t, path, "POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: 28\r\n\r\n{\"event\":\"x\",\"no_wait\":true}")
	<-entered
	_ = c.Close()
	_ = l.Close()
	if err := <-served; err == nil {
		t.Error("Serve returned nil")
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		server.AwaitArrivals(t.Context())
	}()
	select {
	case <-answered:
		t.Error("it waits no more while an event is being accepted")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	<-fired
	<-answered
	_ = server.Close()
}

// Somebody who is connected and says nothing is not waited for without end.
func TestAwaitArrivalsEnds(t *testing.T) {
	a := newArrivals()
	a.watch(new(net.UnixConn), http.StateNew)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	a.wait(ctx)
	if ctx.Err() == nil {
		t.Error("it waited for nobody")
	}
}

// A user without privileges may fire so many events at once, and others are not
// slowed by that; when the daemon ends nobody is.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, leaving := pace{users: map[uint32]*rate.Limiter{}}, make(chan struct{})
		began := time.Now()
		for range paceBurst {
			p.wait(1, leaving)
		}
		p.wait(2, leaving)
		if took := time.Since(began); took != 0 {
			t.Errorf("a burst takes %v", took)
		}
		for range 2 * paceRate {
			p.wait(1, leaving)
		}
		if took := time.Since(began); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("%d more take %v", 2*paceRate, took)
		}
		close(leaving)
		p.wait(1, leaving)
	})
}

// What programs printed and what events hold is not for everyone.
func TestPublicStatus(t *testing.T) {
	secret := netwatch.Entry{
		Rule: "r", Outcome: netwatch.Failed, Error: "token=secret", Detail: "secret", Hint: "secret",
		Fields: map[string]string{"x": "secret"},
	}
	ev := netwatch.Event{ID: "i", Fields: map[string]string{"x": "secret"}}
	served := []SourceStatus{{Serves: "secret"}}
	s := Status{Sources: served, Peers: []netwatch.Peer{{Peer: "secret"}}, Rules: []hooks.RuleStatus{{
		Name: "r", Last: &secret, Running: []netwatch.Event{ev}, Waiting: &hooks.Waiting{
			Events: []netwatch.Event{ev},
			Tried:  &secret,
		},
		Failed: &state.Failure{Event: ev, Error: "secret", Hint: "secret", Step: "exec /x"},
	}}}
	text, err := json.Marshal(s.public())
	if err != nil || strings.Contains(string(text), "secret") || !strings.Contains(string(text), hidden) ||
		!strings.Contains(string(text), "exec /x") || served[0].Serves == "" {
		t.Errorf("%s %v", text, err)
	}
}

func TestBadRequests(t *testing.T) {
	path := serve(t, stub{fire: func(context.Context, Request, func(netwatch.Entry)) (Accepted, error) {
		t.Error("it was fired")
		return Accepted{}, nil
	}})
	client := NewClient(path)
	fields := strings.Repeat(`"%d":"",`, maxFields)
	for i := range maxFields {
		fields = strings.Replace(fields, "%d", fmt.Sprint(i), 1)
	}
	for _, body := range []string{
		"{\"event\": \"x\", \"fields\": {\"a\": \"\xff\"}}", `{"event": "x"} {"event": "x"}`, `{"event": "x"}]`,
		`{"event": "x", "fields": {"a": "b\u0000c"}}`, `{"event": "x", "fields": {"source": "stun"}}`, `{"event": "x", ` +
			`"fields": {` + fields + `"more": ""}}`,
		"", "{", "[]", `{"event": 1}`, `{"evnet": "x"}`, `{}`, `{"event": "` + strings.Repeat("x", maxBody) + `"}`,
	} {
		_, err := client.call(t.Context(), http.MethodPost, "/v1/fire", []byte(body))
		if err == nil || !strings.Contains(err.Error(), "reading the request") {
			t.Errorf("%.20q: %v", body, err)
		}
	}
	if _, err := client.call(t.Context(), http.MethodGet, "/v1/fire", nil); err == nil {
		t.Error("GET /v1/fire was taken")
	}
}

// By the kernel's word alone: root and the daemon's own user fire all, others
// what the sources let them, and who is not known nothing.
func TestWhoMayFire(t *testing.T) {
	const stranger, vpn = 4242424242, 4242424243
	s := server{daemon: stub{mayFire: func(uid uint32, event string) bool { return uid == vpn && event == "x" }}}
	for _, c := range []struct {
		name string
		who  any
		ask  Request
		may  bool
	}{
		{"root", peer{UID: 0}, Request{Event: "x"}, true},
		{"the daemon's own user", peer{UID: uint32(os.Geteuid())}, Request{Event: "x"}, true},
		{"a stranger", peer{UID: stranger, Groups: []uint32{stranger}}, Request{Event: "x"}, false},
		{"a stranger, dry", peer{UID: stranger}, Request{Event: "x", DryRun: true}, true},
		{"a user of a source", peer{UID: vpn}, Request{Event: "x"}, true},
		{"a user of a source, another event", peer{UID: vpn}, Request{Event: "y"}, false},
		{"nobody knows who", nil, Request{Event: "x"}, false},
	} {
		err := s.permit(context.WithValue(t.Context(), peerKey{}, c.who), c.ask)
		if (err == nil) != c.may || c.who != nil && err != nil && netwatch.Hint(err) == "" {
			t.Errorf("%s: %v, hint %q", c.name, err, netwatch.Hint(err))
		}
	}
}

// The kernel says who connects: this process, with all its groups.
func TestPeerIsTheProcessThatConnects(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "netwatch.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", l.all[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.all[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := server.(*knownConn).peer
	if int(p.UID) != os.Geteuid() {
		t.Errorf("peer %+v", p)
	}
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(own, os.Getegid()) {
		if !containsGroup(p.Groups, g) {
			t.Errorf("group %d is not among %v", g, p.Groups)
		}
	}
}

func containsGroup(groups []uint32, g int) bool {
	for _, have := range groups {
		if int(have) == g {
			return true
		}
	}
	return false
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netwatch.sock")
	first, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another netwatch") {
		t.Errorf("beside a living one: %v", err)
	}
	first.SetUnlinkOnClose(false)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("after a dead one: %v", err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Each of the sockets is for whom it is for, from the moment at which it is there.
func TestAdmit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netwatch.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	modes := func(when string, want ...os.FileMode) {
		for i, door := range doors(path) {
			info, err := os.Stat(door)
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); mode&^want[i] != 0 || mode&0o600 != 0o600 {
				t.Errorf("%s %s has %v", when, door, mode)
			}
		}
	}
	modes("at first", 0o755, 0o755, 0o666) // To connect takes the right to write.
	if err := s.Admit([]uint32{65534}); err != nil {
		t.Fatal(err)
	}
	modes("later", 0o660, 0o660, 0o666)
	acl, nobody := make([]byte, 100), []byte{2, 0, 6, 0, 0xfe, 0xff, 0, 0} // acl(5), as the kernel has it
	if n, err := unix.Getxattr(path+ofSources, access.Xattr, acl); err != nil || !bytes.Contains(acl[:n], nobody) {
		t.Errorf("the ACL is %v, %v", acl, err)
	}
	if err := s.Admit(nil); err != nil {
		t.Fatal(err)
	}
	modes("without users", 0o660, 0o600, 0o666)
}

// A file that is not a socket is not removed to make way for one.
func TestListenRemovesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClient(filepath.Join(dir, "none.sock")).Status(t.Context()); !errors.Is(err, ErrUnreachable) ||
		netwatch.Hint(err) == "" {
		t.Errorf("no socket: %v", err)
	}
	if s, err := NewClient(serve(t, stub{status: Status{PID: 42}})).Status(t.Context()); err != nil || s.PID != 42 {
		t.Errorf("status: %+v, %v", s, err)
	}
}

// A daemon that hangs is told from one that is not there.
func TestHungDaemon(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "netwatch.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := NewClient(l.path)
	transport := c.http.Transport.(*http.Transport)
	if transport.ResponseHeaderTimeout != patience {
		t.Errorf("a client waits for %s", transport.ResponseHeaderTimeout)
	}
	transport.ResponseHeaderTimeout = 50 * time.Millisecond // The test has less
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) ||
		!strings.Contains(err.Error(), "it does not answer") {
		t.Errorf("%v", err)
	}
}

// Users without privileges have so many connections and no more, each and all
// together, however many they are, and get one back with each that is closed.
// Those of the sources have their own, and those who may do all are not limited.
func TestConnectionsOfOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors()
		const ofSource = 4242424242
		v.know([]uint32{ofSource})
		open := map[uint32][]func(){}
		enter := func(uid uint32) bool {
			leave, ok := v.admit(peer{UID: uid})
			if ok {
				open[uid] = append(open[uid], leave)
			}
			return ok
		}
		for uid := range uint32(80) {
			for range 2 * maxPerStranger {
				enter(5000000 + uid)
			}
		}
		all := 0
		for uid, connections := range open {
			if all += len(connections); len(connections) > maxPerStranger {
				t.Errorf("user %d has %d connections", uid, len(connections))
			}
		}
		if all != maxStrangers {
			t.Errorf("strangers have %d connections", all)
		}
		for range maxPerUserOfSource {
			if !enter(ofSource) || !enter(0) || !enter(uint32(os.Geteuid())) {
				t.Fatal("strangers took the place of others")
			}
		}
		if enter(ofSource) || !enter(0) {
			t.Error("the limit of a user of a source is not his own")
		}
		open[ofSource][0]()
		if !enter(ofSource) {
			t.Error("what was closed still counts")
		}
	})
}

// Who connects again and again is let in so often, and again after a while.
func TestConnectionsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors()
		come := func() (times int) {
			for times < 10*maxStrangers {
				leave, ok := v.admit(peer{UID: 4242424242})
				if !ok {
					break
				}
				leave()
				times++
			}
			return times
		}
		if n := come(); n != 2*maxStrangers {
			t.Errorf("it came %d times", n)
		}
		time.Sleep(time.Second)
		if n := come(); n != strangersPace {
			t.Errorf("a second later it came %d times", n)
		}
	})
}

// A caller who does not finish his request in time is let go, also where more was
// announced than it takes, and nothing is done for him.
func TestSlowRequestIsLetGo(t *testing.T) {
	path := serve(t, stub{fire: func(context.Context, Request, func(netwatch.Entry)) (Accepted, error) {
		t.Error("it was fired")
		return Accepted{}, nil
	}})
	var all sync.WaitGroup
	for _, request := range []string{
		"POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"event\":\"x\"}",
		"POST /v1/fire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"event\":\"x\"}\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
	} {
		c := dial(t, path, request)
		all.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(2 * callerTime)) // Sockets take it.
			if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), "400 Bad Request") {
				t.Errorf("%q: %q, %v", request, answer, err)
			}
		})
	}
	all.Wait()
}

// A user without privileges may send so many lines, in one request, and no more
// than that.
func TestManyHeaders(t *testing.T) {
	for _, c := range []struct {
		uid    uint32
		lines  int
		answer string
	}{
		{4242424242, 20, "200 OK"},
		{4242424242, maxLines, "400 Bad Request"},
		{0, maxLines, "200 OK"},
	} {
		one, other := socketPair(t)
		served := make(chan struct{})
		server := NewServer(stub{})
		go func() {
			defer close(served)
			_ = server.Server.Serve(&single{newConn(one, peer{UID: c.uid}, func() {})})
		}()
		_, _ = io.WriteString(other, "GET /v1/status HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("a:\r\n", c.lines)+"\r\n")
		_ = other.CloseWrite()
		if answer, err := io.ReadAll(other); err != nil || !strings.Contains(string(answer), c.answer) {
			t.Errorf("user %d, %d lines: %.100q, %v", c.uid, c.lines, answer, err)
		} else if strings.Contains(string(answer), "Connection: close") != (c.uid != 0) {
			t.Errorf("user %d: %q", c.uid, answer)
		}
		<-served
		_ = server.Close()
	}
}

// A single is a listener to which one connection comes.
type single struct{ net.Conn }

func (s *single) Addr() net.Addr { return s.LocalAddr() }
func (s *single) Close() error   { return nil }
func (s *single) Accept() (c net.Conn, err error) {
	if s.Conn == nil {
		return nil, net.ErrClosed
	}
	c, s.Conn = s.Conn, nil
	return c, nil
}

// socketPair are the two ends of a connection.
func socketPair(t *testing.T) (one, other *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return ends[0], ends[1]
}

// So is one who does not read what he follows.
func TestSlowFollowerOfTheSocketIsLetGo(t *testing.T) {
	h := kept(t)
	c := dial(t, serve(t, stub{history: h}), "GET /v1/history?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	long := netwatch.Entry{Kind: netwatch.EntryNote, Detail: strings.Repeat("x", 64<<10)}
	for deadline := time.Now().Add(4 * callerTime); ; {
		h.Add(long) // Until no buffer holds more
		if _, err := c.Write([]byte(" ")); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still being served")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// dial connects and sends a request or a part of one.
func dial(t *testing.T, path, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A caller who reads slowly, or not at all, holds up no run: who reports to him
// never waits.
func TestSlowCallerHoldsUpNoRun(t *testing.T) {
	path := serve(t, stub{fire: func(_ context.Context, _ Request, watch func(netwatch.Entry)) (Accepted, error) {
		told := make(chan struct{})
		go func() {
			defer close(told)
			for range 2 * followerBuffer { // Nobody reads them yet
				watch(entry(netwatch.EntryRun, netwatch.Changed))
			}
		}()
		select {
		case <-told:
		case <-time.After(callerTime):
			t.Error("the run waits for its caller")
		}
		return Accepted{ID: "i", Rules: []Plan{{Name: "r"}}}, nil
	}})
	if _, got, err := fired(t, path, Request{Event: "x"}); err != nil || len(got) != 1 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// So many may wait for their runs and no more, for each costs memory; the others
// are told so, and can fire without waiting.
func TestCallersWhoWait(t *testing.T) {
	entered := make(chan struct{}, maxWaiting)
	path := serve(t, stub{fire: func(_ context.Context, r Request, _ func(netwatch.Entry)) (Accepted, error) {
		if !r.NoWait {
			entered <- struct{}{}
		}
		return Accepted{ID: "i", Rules: []Plan{{Name: "never ends"}}}, nil
	}})
	ctx, hangUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxWaiting {
		waiting.Go(func() {
			_ = NewClient(path).Fire(ctx, Request{Event: "x"}, func(Accepted) {}, func(netwatch.Entry) {})
		})
		<-entered
	}
	soon, cancel := context.WithTimeout(t.Context(), callerTime)
	defer cancel()
	err := NewClient(path).Fire(soon, Request{Event: "x"}, func(Accepted) {}, func(netwatch.Entry) {})
	if err == nil || !strings.Contains(err.Error(), "64 callers wait for their runs already") ||
		!strings.Contains(netwatch.Hint(err), "--no-wait") {
		t.Errorf("one too many is told: %v, %s", err, netwatch.Hint(err))
	}
	if _, _, err := fired(t, path, Request{Event: "x", NoWait: true}); err != nil {
		t.Errorf("without waiting: %v", err)
	}
	hangUp()
	waiting.Wait()
	for { // Until the server has noticed that one of them has gone.
		ctx, cancel := context.WithCancel(t.Context())
		err := NewClient(path).Fire(ctx, Request{Event: "x"}, func(Accepted) { cancel() }, func(netwatch.Entry) {})
		cancel()
		if errors.Is(err, context.Canceled) {
			return
		}
	}
}

// Who has no privileges and waits takes no place of those who have some.
func TestOthersWhoWait(t *testing.T) {
	entered := make(chan struct{}, maxOthersWaiting+1)
	fired := func(context.Context, Request, func(netwatch.Entry)) (Accepted, error) {
		entered <- struct{}{}
		return Accepted{ID: "i", Rules: []Plan{{Name: "never ends"}}}, nil
	}
	server := NewServer(stub{mayFire: func(uint32, string) bool { return true }, fire: fired})
	ctx, hangUp := context.WithCancel(t.Context())
	fire := func(ctx context.Context, uid uint32) *httptest.ResponseRecorder {
		w := fakeCaller{httptest.NewRecorder()}
		ctx = context.WithValue(ctx, peerKey{}, peer{UID: uid})
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/fire", strings.NewReader(`{"event":"x"}`))
		server.Handler.ServeHTTP(w, r)
		return w.ResponseRecorder
	}
	var waiting sync.WaitGroup
	wait := func(uid uint32) {
		waiting.Go(func() { fire(ctx, uid) })
		<-entered
	}
	for n := range maxOthersWaiting {
		wait(4242424242 + uint32(n))
	}
	soon, cancel := context.WithTimeout(ctx, callerTime)
	defer cancel()
	w := fire(soon, 4242424242)
	if text := w.Body.String(); w.Code != http.StatusTooManyRequests || !strings.Contains(text, "8 callers wait") {
		t.Errorf("one too many is told %d %s", w.Code, text)
	}
	wait(0)
	hangUp()
	waiting.Wait()
}

// Every request goes the same way, that one too which net/http would answer by
// itself and keep the connection for.
func TestOptionsOfTheServer(t *testing.T) {
	c := dial(t, serve(t, stub{}), "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(c); err != nil || strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("it answers %q, %v", answer, err)
	}
}

// A caller who is gone costs no memory, however long the run of his event goes on.
func TestCallersWhoAreGone(t *testing.T) {
	var mu sync.Mutex
	var watches []func(netwatch.Entry)
	path := serve(t, stub{fire: func(_ context.Context, _ Request, watch func(netwatch.Entry)) (Accepted, error) {
		mu.Lock()
		defer mu.Unlock()
		watches = append(watches, watch)
		return Accepted{Rules: []Plan{{Name: "r"}}}, nil
	}})
	const body = `{"event": "x"}`
	heap := func() uint64 {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		return now.HeapAlloc
	}
	before := heap()
	for range 200 {
		c := dial(t, path, fmt.Sprintf("POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	const most = 4 << 20 // Each has room for 64 KB of entries while he is there
	end, tick := time.Now().Add(10*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for heap() > before+most {
		if time.Now().After(end) {
			t.Fatalf("%d callers who are gone take %d KB", len(watches), (heap()-before)>>10)
		}
		<-tick.C
	}
	for _, watch := range watches {
		watch(netwatch.Entry{}) // The run still tells them, in vain.
	}
}

// In JSON the troubles of a source are one text, which is read back as what it was.
func TestTroublesAreOneText(t *testing.T) {
	is := SourceStatus{Trouble: Troubles{{"one", "do this"}, {Error: "two"}, {"three", "do that"}}}
	text, err := json.Marshal(is)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"trouble":"one\nhint: do this\ntwo\nthree\nhint: do that"`; !strings.Contains(string(text), want) {
		t.Errorf("%s, not %s", text, want)
	}
	var got SourceStatus
	if err := json.Unmarshal(text, &got); err != nil || !slices.Equal(got.Trouble, is.Trouble) {
		t.Errorf("%+v, %v", got.Trouble, err)
	}
	if text, err := json.Marshal(SourceStatus{}); err != nil || strings.Contains(string(text), "trouble") {
		t.Errorf("%s, %v", text, err)
	}
}
