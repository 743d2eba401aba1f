package helper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
	"netwatch/servers"
)

const before, after = "external-ip=203.0.113.5\n", "external-ip=203.0.113.6\n"

// serve has a helper answer each connection, in this process, with a file
// granted to it. What it says at the end of each comes on the channel.
func serve(t *testing.T) (c *Client, file string, ends <-chan error) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "coturn.conf")
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	c = &Client{Socket: filepath.Join(t.TempDir(), "socket")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := Server{Granted: []Grant{{Target: target(file)}}}
	ended := make(chan error, 16)
	go func() { // Ends with the listener.
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			ended <- s.Serve(context.Background(), conn)
		}
	}()
	return c, file, ended
}

func target(file string) servers.Target {
	options := servers.Options{"private": "keep", "families": "ipv4"}
	return servers.Target{Server: "coturn", File: file, Options: options}
}

func rotation(file string) servers.Rotation {
	return servers.Rotation{
		Target: target(file),
		Public: netwatch.Addresses{netwatch.IPv4: {Address: public[netwatch.IPv4]}},
	}
}

var public = map[netwatch.Family]netip.Addr{netwatch.IPv4: netip.MustParseAddr("203.0.113.6")}

func wantFile(t *testing.T, file, want string) {
	t.Helper()
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("%s is %q (%v), want %q", file, text, err, want)
	}
}

// The change is announced, with what will be, before it happens.
func TestRotate(t *testing.T) {
	c, file, ends := serve(t)
	var told netwatch.Replacement
	changing := func(w netwatch.Replacement) error {
		told = w
		wantFile(t, file, before)
		return nil
	}
	got, asked := c.Rotate(t.Context(), rotation(file), changing)
	if !asked || got.Outcome != netwatch.Changed || got.Err != nil || got.Detail != "203.0.113.5 → 203.0.113.6" {
		t.Errorf("%v %+v", asked, got)
	}
	wantFile(t, file, after)
	want := netwatch.Replacement{
		Place: file, From: netwatch.Fingerprint([]byte(before)),
		To: netwatch.Fingerprint([]byte(after)),
	}
	if told != want {
		t.Errorf("announced was %+v, want %+v", told, want)
	}
	told = netwatch.Replacement{}
	got, asked = c.Rotate(t.Context(), rotation(file), changing)
	if !asked || got.Outcome != netwatch.Unchanged || told != (netwatch.Replacement{}) {
		t.Errorf("the second time: %v %+v %v", asked, got, told)
	}
	if err := errors.Join(<-ends, <-ends); err != nil {
		t.Error(err)
	}
}

// A helper that was started in advance is the one that is asked, once; the next
// time another one is.
func TestPrepare(t *testing.T) {
	c, file, ends := serve(t)
	c.Prepare()
	socket := c.Socket
	c.Socket = filepath.Join(t.TempDir(), "none") // Nobody else can be asked
	if got, asked := c.Rotate(t.Context(), rotation(file), nil); !asked || got.Outcome != netwatch.Changed {
		t.Errorf("%v %+v", asked, got)
	}
	c.Socket = socket
	if got, asked := c.Rotate(t.Context(), rotation(file), nil); !asked || got.Outcome != netwatch.Unchanged {
		t.Errorf("without: %v %+v", asked, got)
	}
	if err := errors.Join(<-ends, <-ends); err != nil {
		t.Error(err)
	}
}

// One that has ended before it was asked is no failure.
func TestPreparedHasEnded(t *testing.T) {
	c, file, _ := serve(t)
	c.Prepare()
	if err := c.spares[0].Close(); err != nil {
		t.Fatal(err)
	}
	if got, asked := c.Rotate(t.Context(), rotation(file), nil); !asked || got.Outcome != netwatch.Changed {
		t.Errorf("%v %+v", asked, got)
	}
	wantFile(t, file, after)
}

// What was granted since it started, the next one knows.
func TestPreparedKnowsLess(t *testing.T) {
	c, file, _ := serve(t)
	end, other := net.Pipe()
	go func() { // Ends with the conversation.
		_ = json.NewDecoder(other).Decode(new(request))
		_ = json.NewEncoder(other).Encode(answer{Outcome: netwatch.Failed, Error: "it was not granted"})
	}()
	c.keep(end)
	if got, asked := c.Rotate(t.Context(), rotation(file), nil); !asked || got.Outcome != netwatch.Changed {
		t.Errorf("%v %+v", asked, got)
	}
}

// A conversation with it ends with the step's time like any other.
func TestPreparedSilence(t *testing.T) {
	end, silent := net.Pipe()
	defer silent.Close()
	c := &Client{Socket: "/none", spares: []net.Conn{end}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("it is over"))
	defer cancel()
	if got, asked := c.Rotate(ctx, rotation("/x"), nil); !asked || got.Outcome != netwatch.Failed ||
		!strings.Contains(got.Err.Error(), "it is over") {
		t.Errorf("%v %+v", asked, got)
	}
}

// One that nobody needs is let go, and says nothing of that.
func TestPreparedInVain(t *testing.T) {
	c, file, ends := serve(t)
	c.Prepare()
	if err := c.spares[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ends; err != nil {
		t.Error(err)
	}
	wantFile(t, file, before)
	(&Client{Socket: filepath.Join(t.TempDir(), "none")}).Prepare() // Nobody is there
}

// Blanks alone are no request, and are refused as one.
func TestBlanks(t *testing.T) {
	c, _, ends := serve(t)
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(bytes.Repeat([]byte(" "), maxMessages)); err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil || a.Outcome != netwatch.Failed {
		t.Errorf("the answer is %+v, %v", a, err)
	}
	if err := <-ends; err == nil {
		t.Error("it ends as if it had not been asked")
	}
}

func TestSpareTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{}
		first, other := net.Pipe()
		c.keep(first)
		<-time.After(spareTime - time.Second)
		second, _ := net.Pipe()
		c.keep(second)
		<-time.After(2 * time.Second)
		_ = other.SetReadDeadline(time.Now().Add(time.Second)) // A pipe takes any
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after its time, it is not closed: %v", err)
		}
		if conn := c.take(nil); conn != second {
			t.Error("the one whose time is not over is gone")
		}
		<-time.After(spareTime)
		if err := second.SetDeadline(time.Time{}); err != nil {
			t.Errorf("what was taken is closed: %v", err)
		}
	})
}

// What cannot be noted does not happen, and the reason is the daemon's own.
func TestRotateNotNoted(t *testing.T) {
	c, file, ends := serve(t)
	got, _ := c.Rotate(t.Context(), rotation(file),
		func(netwatch.Replacement) error { return errors.New("the disk is full") })
	if got.Outcome != netwatch.Failed || !strings.Contains(got.Err.Error(), "the disk is full") {
		t.Errorf("%+v", got)
	}
	if err := <-ends; err == nil || !strings.Contains(err.Error(), "waiting for netwatch: EOF") {
		t.Errorf("the helper ends with %v", err)
	}
	wantFile(t, file, before)
}

// A refusal comes with its remedy.
func TestRotateNotGranted(t *testing.T) {
	c, file, _ := serve(t)
	other := rotation(file)
	other.Options = servers.Options{"private": "auto"}
	got, asked := c.Rotate(t.Context(), other, nil)
	if !asked || got.Outcome != netwatch.Failed || !strings.Contains(got.Err.Error(), "was granted") ||
		!strings.Contains(netwatch.Hint(got.Err), "netwatch grant") {
		t.Errorf("%v %+v", asked, got)
	}
	wantFile(t, file, before)
}

// Without a socket, or one for this user, there is nobody to ask; behind a dead
// one there should be somebody.
func TestRotateNobodyThere(t *testing.T) {
	_, asked := (&Client{Socket: filepath.Join(t.TempDir(), "none")}).Rotate(t.Context(), rotation("/x"), nil)
	if asked {
		t.Error("somebody was asked without a socket")
	}
	c, file, _ := serve(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Socket + "2", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	got, asked := (&Client{Socket: c.Socket + "2"}).Rotate(t.Context(), rotation(file), nil)
	if !asked || got.Outcome != netwatch.Failed || !strings.Contains(netwatch.Hint(got.Err), "netwatch-file.socket") {
		t.Errorf("%v %+v", asked, got)
	}
}

// A helper that says nothing is waited for until the deadline, and no longer; one
// that ends is not waited for.
func TestRotateSilence(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // Nobody ever accepts.
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("it is over"))
	defer cancel()
	got, asked := (&Client{Socket: socket}).Rotate(ctx, rotation("/x"), nil)
	if !asked || got.Outcome != netwatch.Failed || !strings.Contains(got.Err.Error(), "it is over") {
		t.Errorf("%v %+v", asked, got)
	}
	end, conn := net.Pipe()
	go func() { // Ends with the pipe.
		_ = json.NewDecoder(conn).Decode(new(request))
		_ = conn.Close()
	}()
	if _, err := talk(end, request{}, nil); err == nil || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("of a helper that ends it says %v", err)
	}
}

func TestCheckOwn(t *testing.T) {
	for _, c := range []struct {
		family      netwatch.Family
		own, public string
		well        bool
	}{
		{netwatch.IPv4, "192.168.1.2", "203.0.113.5", true},
		{netwatch.IPv4, "100.64.1.2", "203.0.113.5", true},
		{netwatch.IPv4, "203.0.113.5", "203.0.113.5", true},
		{netwatch.IPv4, "198.51.100.1", "203.0.113.5", false},
		{netwatch.IPv4, "198.51.100.1", "", false},
		{netwatch.IPv4, "127.0.0.1", "203.0.113.5", false},
		{netwatch.IPv4, "169.254.1.1", "203.0.113.5", false},
		{netwatch.IPv4, "2001:db8::5", "203.0.113.5", false},
		{netwatch.IPv4, "", "203.0.113.5", false},
		{netwatch.IPv6, "fd00::1", "2001:db8::5", true},
		{netwatch.IPv6, "2001:db8::5", "2001:db8::5", true},
		{netwatch.IPv6, "2001:db8::6", "2001:db8::5", false},
		{netwatch.IPv6, "2001:db8::6", "", true},
		{netwatch.IPv6, "fe80::1", "", false},
		{netwatch.IPv6, "::1", "", false},
		{netwatch.IPv6, "::ffff:192.168.1.2", "", false},
		{netwatch.IPv6, "fd00::1%eth0", "", false},
	} {
		own, _ := netip.ParseAddr(c.own)
		public, _ := netip.ParseAddr(c.public)
		if err := checkOwn(c.family, own, public, nil); (err == nil) != c.well {
			t.Errorf("own %q, public %q: %v", c.own, c.public, err)
		}
	}
	test := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if err := checkOwn(netwatch.IPv4, netip.MustParseAddr("127.0.0.1"), netip.Addr{}, test); err != nil {
		t.Error(err)
	}
}

// Whatever the daemon says, the helper writes public addresses alone, each as one of its
// family, and goes by no own address that no machine has; what it does not know is refused.
func TestCheck(t *testing.T) {
	c, file, _ := serve(t)
	s := Server{Granted: []Grant{{Target: target(file)}}}
	four, six := netip.MustParseAddr("203.0.113.6"), netip.MustParseAddr("2001:db8::6")
	stranger := netip.MustParseAddr("198.51.100.1")
	type all = map[netwatch.Family]netip.Addr
	for name, q := range map[string]struct {
		public, own all
		want        string
	}{
		"well":             {all{"ipv4": four, "ipv6": six}, all{"ipv4": four}, ""},
		"none":             {nil, nil, "no public address"},
		"private":          {all{"ipv4": netip.MustParseAddr("10.0.0.1")}, nil, "10.0.0.1"},
		"another family":   {all{"ipv4": six}, nil, "2001:db8::6 is not an ipv4 address"},
		"another's own":    {all{"ipv4": four}, all{"ipv4": stranger}, "198.51.100.1 is not an address"},
		"own of no public": {all{"ipv6": six}, all{"ipv4": stranger}, "198.51.100.1 is not an address"},
	} {
		_, err := s.check(request{Target: target(file), Public: q.public, Own: q.own})
		if (err == nil) != (q.want == "") || err != nil && !strings.Contains(err.Error(), q.want) {
			t.Errorf("%s: %v, want %q", name, err, q.want)
		}
	}
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var a answer
	if _, err := io.WriteString(conn, `{"command": "rm"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil || !strings.Contains(a.Error, `unknown field "command"`) {
		t.Errorf("of what it does not know it says %+v, %v", a, err)
	}
}

func TestServerText(t *testing.T) {
	s := Server{
		Granted: []Grant{{Target: target(`/etc/a "b" %i\c`)}},
		Accept:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	again, err := ParseServer(s.String())
	if err != nil || again.String() != s.String() || len(again.Granted) != 1 ||
		!reflect.DeepEqual(again.Granted, s.Granted) || again.Accept[0] != s.Accept[0] {
		t.Errorf("%v becomes %v %v", s, again, err)
	}
	if s, err := ParseServer(""); err != nil || len(s.Granted) != 0 {
		t.Errorf("nothing becomes %v %v", s, err)
	}
	for _, nonsense := range []string{
		`{"server": "coturn", "options": {"private": "some"}}`, `{"server": "coturn", "options": {"x": "y"}}`,
		`{"server": "none"}`, `{"server": "yaml"}`, `{"server": "yaml", "options": {"key": "a..b"}}`, `{"file": 1}`,
	} {
		if _, err := ParseServer(`{"granted": [` + nonsense + `]}`); err == nil {
			t.Errorf("%s is taken", nonsense)
		}
	}
}

func TestMayAsk(t *testing.T) {
	for uid, want := range map[uint32]bool{0: true, uint32(os.Geteuid()): true, 65534: os.Geteuid() == 65534} {
		if got := mayAsk(uid); got != want {
			t.Errorf("user %d: %v", uid, got)
		}
	}
}

// A socket that is another's stands for no socket; root opens every one.
func TestRotateForbidden(t *testing.T) {
	c, file, _ := serve(t)
	if err := os.Chmod(filepath.Dir(c.Socket), 0); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", c.Socket)
	if err == nil {
		_ = conn.Close()
	}
	_, asked := c.Rotate(t.Context(), rotation(file), nil)
	if asked == errors.Is(err, fs.ErrPermission) {
		t.Errorf("asked: %v; connecting: %v", asked, err)
	}
	if err := os.Chmod(filepath.Dir(c.Socket), 0o700); err != nil {
		t.Fatal(err)
	}
}
