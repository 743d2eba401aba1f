//go:build lab

package lab

import (
	"context"
	"errors"
	"flag"
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

// release is what the server of these tests runs.
var release = flag.String("release", "", "make the tests on another `Debian`, as trixie or sid")

func TestMain(m *testing.M) {
	flag.Parse()
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
	defer ahead(ctx)()
	began := time.Now()
	leave, err := moveIn(ctx, Release(*release))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, leave()) }()
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

// moveIn makes a lab whose server runs a release; it is the one of the tests until
// leave.
func moveIn(ctx context.Context, r Release) (leave func() error, err error) {
	w, s, st, c := world, server, stuns, caller
	leave = func() error {
		left := world
		world, server, stuns, caller = w, s, st, c
		return left.Close()
	}
	if world, err = New(ctx); err != nil {
		world = w
		return nil, err
	}
	if err := furnish(ctx, r); err != nil {
		return nil, errors.Join(err, leave())
	}
	return leave, nil
}

// furnish puts into the lab what the tests want of it.
func furnish(ctx context.Context, r Release) (err error) {
	if server, err = world.Boot(ctx, r); err != nil {
		return err
	}
	stuns = nil
	for n := range StunServers {
		stun, err := world.StartStun(ctx, n)
		if err != nil {
			return err
		}
		stuns = append(stuns, stun)
	}
	caller = Caller{Namespace: world.Inet, Secret: Secret}
	return nil
}

// onReleases makes a test on the lab's own server and on others, whose systemd and
// polkit are newer, each in a lab of its own; on the newest only with all worlds.
func onReleases(t *testing.T, test func(t *testing.T)) {
	t.Run("this machine's", test)
	newer := []Release{Trixie}
	if *everyWorld {
		newer = append(newer, Sid)
	}
	for _, r := range newer {
		t.Run(string(r), func(t *testing.T) {
			leave, err := moveIn(t.Context(), r)
			must(t, err)
			t.Cleanup(func() { must(t, leave()) })
			t.Log(shell(t, "systemctl --version | head -n 1; pkaction --version; cat /etc/debian_version"))
			test(t)
		})
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
