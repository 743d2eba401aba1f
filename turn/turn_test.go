package turn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"
	"go.uber.org/goleak"

	"netwatch"
	"netwatch/servers"
	"netwatch/turn/turntest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allocate asks as whom the secret knows.
func allocate(t *testing.T, f *turntest.Server) (netip.Addr, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	a, _, err := Allocate(ctx, Ask{To: f.Addr, Over: servers.UDP, Who: whom(t)})
	return a, err
}

// whom is whom the secret knows.
func whom(t *testing.T) *servers.Credential {
	t.Helper()
	coturn, err := servers.Named("coturn")
	if err != nil {
		t.Fatal(err)
	}
	offer, err := coturn.Offer([]byte("use-auth-secret\nstatic-auth-secret="+turntest.Secret+"\n"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return offer.Credentials[0]
}

// An allocation that should not have been given is given back.
func TestGivesBackOfAnOpenRelay(t *testing.T) {
	f := turntest.New(t, func(r *stun.Message, _ bool) []stun.Setter { return turntest.Lends(r, "203.0.113.7") })
	if _, err := allocate(t, f); !errors.Is(err, ErrOpen) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"Allocate", "Refresh"}, f.Asked()); diff != "" {
		t.Error(diff)
	}
}

// A port whose allocation by another is not over yet is left for another one, if there is one.
func TestPortThatWasAnothers(t *testing.T) {
	for mismatches, want := range map[int32]error{1: nil, 2: nil, 3: &Error{}} {
		var asked atomic.Int32
		honest := turntest.Proper(t, "203.0.113.7", nil)
		f := turntest.New(t, func(request *stun.Message, signed bool) []stun.Setter {
			if asked.Add(1) <= mismatches {
				return turntest.Refusal(request, stun.CodeAllocMismatch, "n")
			}
			return honest(request, signed)
		})
		_, err := allocate(t, f)
		if refused := new(Error); (err == nil) != (want == nil) || err != nil && !errors.As(err, &refused) {
			t.Errorf("after %d: %v", mismatches, err)
		}
	}
}

// A nonce that has become stale is replaced, and a packet that was lost is sent
// again.
func TestStaleNonceAndLoss(t *testing.T) {
	stale, lost := true, true
	honest := turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
		if stale {
			stale = false
			return turntest.Refusal(request, stun.CodeStaleNonce, "n2")
		}
		var nonce stun.Nonce
		if err := nonce.GetFrom(request); err != nil || nonce.String() != "n2" {
			t.Errorf("the nonce is %q, %v", nonce, err)
		}
		return nil
	})
	f := turntest.New(t, func(request *stun.Message, signed bool) []stun.Setter {
		if lost {
			lost = false
			return nil
		}
		return honest(request, signed)
	})
	if a, err := allocate(t, f); a.String() != "203.0.113.7" || err != nil {
		t.Errorf("%s, %v", a, err)
	}
}

// A refusing socket is what the kernel makes of a port where nobody listens yet.
type refusing struct {
	net.Conn
	times int
}

// Write fails so many times.
func (r *refusing) Write(p []byte) (int, error) {
	if r.times--; r.times >= 0 {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNREFUSED)}
	}
	return r.Conn.Write(p)
}

// A server that begins to listen a little later is waited for, and nobody who
// never listens is waited for longer than the context lasts.
func TestWaitsForAServer(t *testing.T) {
	f := turntest.New(t, turntest.Proper(t, "203.0.113.7", nil))
	for times, want := range map[int]error{3: nil, 1 << 30: syscall.ECONNREFUSED} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		r, err := dial(ctx, f.Addr, servers.UDP)
		if err != nil {
			t.Fatal(err)
		}
		r.conn = &refusing{r.conn, times}
		_, err = r.allocate(ctx, nil, netwatch.IPv4)
		if want == nil && !Refused(err, stun.CodeUnauthorized) || want != nil && !errors.Is(err, want) {
			t.Errorf("refused %d times: %v", times, err)
		}
		_ = r.Close()
		cancel()
	}
}

// Over a stream the same is said, whatever the pieces in which it comes; a certificate
// is handed on as it is.
func TestStreams(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	f := turntest.New(t, turntest.Proper(t, "203.0.113.7", nil))
	for over, to := range map[servers.Transport]netip.AddrPort{
		servers.TCP: f.Over(t, nil), servers.TLS: f.Over(t, turntest.Certificate(t, until)),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		a, leaf, err := Allocate(ctx, Ask{To: to, Over: over, Who: whom(t), Realm: turntest.Realm})
		if a.String() != "203.0.113.7" || err != nil {
			t.Errorf("%s: %s, %v", over, a, err)
		}
		if over == servers.TLS && !leaf.NotAfter.Equal(until) {
			t.Errorf("the certificate is good until %s", leaf.NotAfter)
		}
		cancel()
	}
}

// A message that is longer than any answer, a stream that ends, one that is no TLS, and
// one that is silent are errors, each by itself and in time.
func TestStreamsThatAreNone(t *testing.T) {
	long := append(make([]byte, 2), 0xff, 0xff)
	for name, says := range map[string][]byte{"long": append(long, make([]byte, 16)...), "short": {1}, "silent": nil} {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range 2 {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write(says)
				if says == nil {
					_, _ = io.Copy(io.Discard, conn) // Until the caller has had enough
				}
				_ = conn.Close()
			}
		}()
		for _, over := range []servers.Transport{servers.TCP, servers.TLS} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			to := netip.MustParseAddrPort(listener.Addr().String())
			if a, _, err := Allocate(ctx, Ask{To: to, Over: over, Who: whom(t)}); err == nil {
				t.Errorf("%s over %s: %s", name, over, a)
			} else {
				t.Logf("%s over %s: %v", name, over, err)
			}
			cancel()
		}
		_ = listener.Close()
		<-ended
	}
}

// Another's realm is told before anyone's credentials are shown to it.
func TestAnother(t *testing.T) {
	f := turntest.New(t, turntest.Proper(t, "203.0.113.7", nil))
	_, _, err := Allocate(t.Context(), Ask{To: f.Addr, Over: servers.UDP, Who: whom(t), Realm: "example.net"})
	if another := new(Another); !errors.As(err, &another) || another.Realm != turntest.Realm {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"Allocate"}, f.Asked()); diff != "" {
		t.Error(diff)
	}
}

// Callers name no family, and so does whoever asks as they do.
func TestNamesNoFamily(t *testing.T) {
	var named atomic.Int32 // The server answers in a goroutine of its own
	f := turntest.New(t, turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
		if _, err := request.Get(stun.AttrRequestedAddressFamily); err == nil {
			named.Add(1)
		}
		return nil
	}))
	for family, want := range map[netwatch.Family]int32{"": 0, netwatch.IPv6: 1} {
		named.Store(0)
		_, _, err := Allocate(t.Context(), Ask{To: f.Addr, Over: servers.UDP, Who: whom(t), Family: family})
		if got := named.Load(); err != nil || got != want {
			t.Errorf("%q: named %d times, %v", family, got, err)
		}
	}
}
