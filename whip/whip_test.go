package whip

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch/whip/whiptest"
)

func ask(to netip.AddrPort) Ask { return Ask{to, whiptest.Key, whiptest.Secret} }

// told is what a caller is told who takes his offer back at once.
func told(ctx context.Context, a Ask) ([]Candidate, []Relay, error) {
	c, err := Open(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	c.Close()
	return c.Candidates, c.Relays, nil
}

// A caller gets the candidates, and takes his offer back.
func TestCandidates(t *testing.T) {
	s := whiptest.New(t, "udp 203.0.113.7 7882", "TCP 203.0.113.7 7881", "udp 203.0.113.7 7882", "udp 2001:db8::7 7882",
		"udp host.local 1", "udp fe80::1%\x1b[31m 1")
	got, relays, err := told(t.Context(), ask(s.Addr))
	want := []Candidate{
		{netip.MustParseAddr("203.0.113.7"), 7882, "udp"},
		{netip.MustParseAddr("203.0.113.7"), 7881, "tcp"},
		{netip.MustParseAddr("2001:db8::7"), 7882, "udp"},
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, same); err != nil || diff != "" || relays != nil {
		t.Error(err, diff, relays)
	}
	asked := []string{"POST /whip/v1 201", "POST /twirp/livekit.RoomService/RemoveParticipant 200"}
	if diff := cmp.Diff(asked, s.Asked()); diff != "" {
		t.Error(diff)
	}
	s.Say()
	s.Link(`<stun%3Astun.example>; rel="ice-server"`,
		`<turn%3A203.0.113.7%3A3478%3Ftransport=udp>; username="u1"; rel="ice-server"; credential="p1"`,
		`<turns%3Aturn.example.org%3A443%3Ftransport=tcp>; credential="p1"; rel="ice-server"; username="u1"`,
		`<turn:other.example>; rel="ice-server"; username="u2"; credential="p2"`, `<https://turn.example>; username="x"`,
		`<turn:x>; username="`+strings.Repeat("x", maxName+1)+`"; credential="p3"`)
	got, relays, err = told(t.Context(), ask(s.Addr))
	if diff := cmp.Diff([]Relay{{"u1", "p1"}, {"u2", "p2"}}, relays); err != nil || len(got) != 0 || diff != "" {
		t.Error(got, err, diff)
	}
}

// Whoever has another secret is told so.
func TestRefused(t *testing.T) {
	s := whiptest.New(t)
	for _, a := range []Ask{{s.Addr, whiptest.Key, "x"}, {s.Addr, "x", whiptest.Secret}} {
		_, err := Open(t.Context(), a)
		refused, is := errors.AsType[*Refused](err)
		if !is || refused.Code != http.StatusUnauthorized || err.Error() != "it answers 401 Unauthorized" {
			t.Error(err)
		}
	}
}

// hostile are servers that answer something else.
func TestHostile(t *testing.T) {
	for said, answer := range map[string]http.HandlerFunc{
		"it answers 302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"it answers 200 OK":        func(http.ResponseWriter, *http.Request) {},
		"it answers 599":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"reading a candidate":      func(w http.ResponseWriter, _ *http.Request) { created(w, "a=candidate:1 1 udp x\r\n") },
		"reading a candidate: EOF": func(w http.ResponseWriter, _ *http.Request) { created(w, "a=candidate:") },
		"server response headers exceeded": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", strings.Repeat("x", 2*maxAnswer))
			created(w, "")
		},
	} {
		http := httptest.NewServer(answer)
		_, err := Open(t.Context(), ask(netip.MustParseAddrPort(http.Listener.Addr().String())))
		if err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%v, and should say %q", err, said)
		}
		http.Close()
	}
	var asked atomic.Int32
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer broken.Close()
	_, err := Open(t.Context(), ask(netip.MustParseAddrPort(broken.Listener.Addr().String())))
	if err == nil || err.Error() != "it answers 503 Service Unavailable" || asked.Load() != 2 {
		t.Errorf("%v, asked %d times: the caller was not taken back", err, asked.Load())
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		created(w, strings.Repeat("a=x\r\n", maxAnswer)+"a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n")
	}))
	defer endless.Close()
	got, _, err := told(t.Context(), ask(netip.MustParseAddrPort(endless.Listener.Addr().String())))
	if err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

func created(w http.ResponseWriter, answer string) {
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(answer))
}

// Nobody there, and one who says nothing, are errors that one knows.
func TestNobody(t *testing.T) {
	s := httptest.NewServer(nil)
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	s.Close()
	if _, err := Open(t.Context(), ask(at)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Only then the end of who asks is seen
		<-r.Context().Done()
	}))
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, ask(netip.MustParseAddrPort(silent.Listener.Addr().String())))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
