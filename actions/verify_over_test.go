package actions

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/turn"
)

// A late context ends a while after its deadline, as every context does on a busy machine.
type late struct {
	context.Context
	deadline time.Time
}

func (l late) Deadline() (time.Time, bool) { return l.deadline, true }

// lateBy is a context whose deadline is soon, and its end later.
func lateBy(t *testing.T, soon, later time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon+later)
	t.Cleanup(cancel)
	return late{ctx, time.Now().Add(soon)}
}

// What is asked after the deadline, before the context has ended, gets no answer from the
// network: the answer before it counts.
func TestVerifyTLSAfterTheDeadline(t *testing.T) {
	t.Parallel()
	old, renewed := issue(t, "localhost", time.Hour), issue(t, "localhost", 2*time.Hour)
	var now atomic.Pointer[tls.Certificate]
	now.Store(&old)
	s := servedCertificate{host: "localhost", port: serveTLS(t, &now), time: time.Minute}
	job := netwatch.Job{Events: []netwatch.Event{renewedBy("/a", "localhost", renewed)}}
	wantResult(t, s.Do(lateBy(t, time.Second, time.Second), job), netwatch.Failed, "it serves another one")
}

// The same of a TURN server: that nobody listened is what makes it dead.
func TestVerifyAfterTheDeadline(t *testing.T) {
	t.Parallel()
	v := verification{time: time.Second}
	nobody := turn.Ask{To: netip.MustParseAddrPort("127.0.0.1:1"), Over: servers.TCP}
	got := v.ask(lateBy(t, time.Second, time.Second), nobody, time.Now().Add(time.Minute))
	if !errors.Is(got.err, syscall.ECONNREFUSED) {
		t.Errorf("it says %v", got.err)
	}
}
