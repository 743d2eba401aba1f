package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// soon is a deadline that passes in a test; later is one that does not.
func soon() time.Time  { return time.Now().Add(20 * time.Millisecond) }
func later() time.Time { return time.Now().Add(10 * time.Second) }

var vpnChanged = Request{
	Event: netwatch.VPNChanged, Source: "openvpn",
	Fields: map[string]string{"new": "192.0.2.1"}, NoWait: true,
}

// recording is a daemon that remembers what was fired.
func recording(err error) (stub, <-chan Request) {
	got := make(chan Request, 10)
	return stub{fire: func(_ context.Context, r Request, _ func(netwatch.Entry)) (Accepted, error) {
		got <- r
		return Accepted{ID: "1"}, err
	}}, got
}

func TestTell(t *testing.T) {
	d, got := recording(nil)
	if err := Tell(serve(t, d), vpnChanged, later()); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.Event != vpnChanged.Event || r.Source != "openvpn" || r.Fields["new"] != "192.0.2.1" || !r.NoWait {
		t.Errorf("fired %+v", r)
	}
}

// A refusal comes in the daemon's own words, with its hint.
func TestTellIsRefused(t *testing.T) {
	d, _ := recording(netwatch.WithHint(errors.New("the disk is full"), "make room"))
	if err := Tell(serve(t, d), vpnChanged, later()); err == nil || err.Error() != "the disk is full" ||
		netwatch.Hint(err) != "make room" {
		t.Errorf("%v, hint %q", err, netwatch.Hint(err))
	}
}

// fakeListener stands for a daemon and is none: nobody accepts what comes to it
// until a test does.
func fakeListener(t *testing.T) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// wantUntold wants an error that says what and has a hint.
func wantUntold(t *testing.T, err error, what string) {
	t.Helper()
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), what) || netwatch.Hint(err) == "" {
		t.Errorf("%v, hint %q; want %q", err, netwatch.Hint(err), what)
	}
}

// What a hanging daemon has not read when the teller leaves, it acts on when it
// goes on.
func TestTellLeavesTheRequest(t *testing.T) {
	l := fakeListener(t)
	wantUntold(t, Tell(l.Addr().String(), vpnChanged, soon()), "no time was left")
	d, got := recording(nil)
	server, done := NewServer(d), make(chan error)
	go func() { done <- server.Serve(newSockets(l.Addr().String(), l)) }()
	if r := <-got; r.Event != vpnChanged.Event {
		t.Errorf("fired %+v", r)
	}
	_ = server.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// To have gone while the event is being accepted does not undo it.
func TestTellerLeavesDuringFire(t *testing.T) {
	gone := make(chan error, 1)
	path := serve(t, stub{fire: func(ctx context.Context, _ Request, _ func(netwatch.Entry)) (Accepted, error) {
		<-ctx.Done()
		gone <- context.Cause(ctx)
		return Accepted{}, nil
	}})
	wantUntold(t, Tell(path, vpnChanged, soon()), "no time was left")
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// sequel serves one connection after the other, each by the next of answers: a
// fake of a daemon that ends and comes back.
func sequel(t *testing.T, answers ...string) (path string, asked <-chan string) {
	t.Helper()
	l, requests := fakeListener(t), make(chan string, len(answers))
	go func() { // Ends with its answers.
		for _, answer := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			requests <- string(buf[:n])
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), requests
}

const (
	answerOK    = "HTTP/1.1 200 OK\r\n\r\n"
	answerEnds  = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 27\r\n\r\n{\"error\":\"it shuts down\"}\r\n"
	answerOther = "SSH-2.0-OpenSSH_9.2p1\r\n"
)

func TestTellOnceMore(t *testing.T) {
	for _, first := range []string{"", answerEnds} {
		path, asked := sequel(t, first, answerOK)
		if err := Tell(path, vpnChanged, later()); err != nil {
			t.Errorf("after %q: %v", first, err)
			continue
		}
		if one, two := <-asked, <-asked; one != two || !strings.Contains(two, `"new":"192.0.2.1"`) {
			t.Errorf("asked %q and %q", one, two)
		}
	}
	path, _ := sequel(t, "", "")
	wantUntold(t, Tell(path, vpnChanged, later()), errBroken.Error())
	path, _ = sequel(t, answerEnds, answerEnds)
	if err := Tell(path, vpnChanged, later()); err == nil || err.Error() != "it shuts down" {
		t.Error(err)
	}
}

func TestTellAnswers(t *testing.T) {
	for _, answer := range []string{answerOther, strings.Repeat("x", 2*maxAnswer), "\x00", "HTTP/1.1 2"} {
		path, _ := sequel(t, answer, answer)
		wantUntold(t, Tell(path, vpnChanged, later()), "no netwatch")
	}
	path, _ := sequel(t, "HTTP/1.1 403 Forbidden\r\n\r\n")
	if err := Tell(path, vpnChanged, later()); !errors.Is(err, ErrNotPermitted) || err.Error() != "403 Forbidden" {
		t.Errorf("a refusal without words: %v", err)
	}
}

// Nobody listens, nobody may, or the name cannot be.
func TestTellNobody(t *testing.T) {
	dir := t.TempDir()
	wantUntold(t, Tell(filepath.Join(dir, "none"), vpnChanged, later()), "nobody listens")
	l := fakeListener(t)
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	wantUntold(t, Tell(l.Addr().String(), vpnChanged, later()), "nobody listens")
	if err := Tell(dir+strings.Repeat("/x", 100), vpnChanged, later()); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a long path: %v", err)
	}
	if err := Tell(dir, vpnChanged, later()); err == nil {
		t.Error("a directory was told")
	}
}

// shortQueue listens with room for one connection that is not yet accepted.
func shortQueue(t *testing.T, path string) net.Listener {
	t.Helper()
	fd, err := newStream()
	if err != nil {
		t.Fatal(err)
	}
	defer fd.close()
	if err := errors.Join(unix.Bind(int(fd), &unix.SockaddrUnix{Name: path}), unix.Listen(int(fd), 0)); err != nil {
		t.Fatal(err)
	}
	copied, err := unix.Dup(int(fd))
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(copied), path)
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A full queue is tried until the deadline.
func TestTellFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := shortQueue(t, path)
	filler := dial(t, path, "")
	wantUntold(t, Tell(path, vpnChanged, soon()), errFull.Error())
	go func() { // Makes room while Tell knocks, and then answers it.
		_, _ = l.Accept()
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 4096)) // Who closes before that resets the connection
			_, _ = io.WriteString(c, answerOK)
			_ = c.Close()
		}
	}()
	if err := Tell(path, vpnChanged, later()); err != nil {
		t.Error(err)
	}
	_ = filler.Close()
}

// So is one by who has more time, and the others' queues are no matter to whom
// another socket takes.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := shortQueue(t, path)
	_ = dial(t, path, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := connect(ctx, path); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a full queue let us in: %v, %v", c, err)
	}
	came := make(chan net.Conn)
	go func() {
		c, _ := connect(t.Context(), path)
		came <- c
	}()
	_, _ = l.Accept() // Makes room.
	if c := <-came; c == nil {
		t.Error("it gave up")
	} else {
		_ = c.Close()
	}
	for _, other := range []string{ofSources, ofGroup} {
		own := shortQueue(t, path+other)
		c, err := connect(t.Context(), path)
		if err != nil || c.RemoteAddr().String() != own.Addr().String() {
			t.Errorf("it came to %v, %v", c, err)
			continue
		}
		_ = c.Close()
		_, _ = own.Accept()
		fd, err := newStream()
		if err := errors.Join(err, fd.connect(path, soon())); err != nil {
			t.Errorf("the queue of %s: %v", other, err)
		}
		fd.close()
		_, _ = own.Accept()
	}
}
