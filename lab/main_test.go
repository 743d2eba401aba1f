//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// The one lab that all tests share; each makes coturn and netwatch afresh.
var (
	world  *Lab
	server *Server
	stuns  []*Stun
	caller Caller
)

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := withLab(ctx, m)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = 1
	}
	os.Exit(code)
}

// withLab runs the tests and takes the lab down, on a panic or an interrupt
// too; what a killed run leaves, the next one removes.
func withLab(ctx context.Context, m *testing.M) (code int, err error) {
	began := time.Now()
	if world, err = New(ctx); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	if server, err = world.Boot(ctx); err != nil {
		return 1, err
	}
	for n := range StunServers {
		stun, err := world.StartStun(ctx, n)
		if err != nil {
			return 1, err
		}
		stuns = append(stuns, stun)
	}
	caller = Caller{Namespace: world.Inet, Secret: Secret}
	fmt.Printf("lab: up in %v\n", time.Since(began).Round(time.Millisecond))
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }() // Ends with the tests, or the process.
	select {
	case code = <-ended:
		return code, nil
	case <-ctx.Done():
		return 1, context.Cause(ctx)
	}
}

// must ends a test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs a command line inside the server and returns what it wrote.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := server.Exec(t.Context(), "sh", "-c", line)
	must(t, err)
	return out
}

// show is a property of a unit.
func show(t *testing.T, unit, property string) string {
	t.Helper()
	value, err := server.Show(t.Context(), unit, property)
	must(t, err)
	return value
}

// fresh makes the lab as it was at the start: the first public address, true
// STUN servers, coturn running on that address, and no netwatch.
func fresh(t *testing.T, c Coturn) {
	t.Helper()
	ctx := t.Context()
	_, _ = server.Exec(ctx, "systemctl", "stop", "netwatch.socket", "netwatch.service") // It may not be there.
	shell(t, "rm -rf /var/lib/netwatch")
	for _, stun := range stuns {
		must(t, stun.Start(ctx))
	}
	must(t, world.Masquerade(ctx))
	must(t, world.SetPublic(ctx, FirstPublic))
	must(t, server.Install(ctx, c, FirstPublic))
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// right waits until a caller at the router's address gets a relayed address at
// want, and returns when that was.
func right(t *testing.T, at, want netip.Addr, within time.Duration) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	when, err := caller.WaitAllocate(ctx, netip.AddrPortFrom(at, Port), want)
	must(t, err)
	return when
}
