package turn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
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
	coturn, err := servers.Named("coturn")
	if err != nil {
		t.Fatal(err)
	}
	offer, err := coturn.Offer([]byte("use-auth-secret\nstatic-auth-secret="+turntest.Secret+"\n"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return Allocate(ctx, f.Addr, offer.Credentials[0], netwatch.IPv4)
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
		r, err := dial(ctx, f.Addr)
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
