//go:build lab

// What all tests of the lab do with netwatch.

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// installed are the servers that have netwatch.
var installed = map[*Server]error{}

// install puts netwatch into the server, once.
func install() error {
	err, tried := installed[server]
	if !tried {
		err = server.InstallNetwatch(context.Background(), "..")
		installed[server] = err
	}
	return err
}

// configuration is what a user of one of the coturns writes who has an IPv4
// address.
func configuration(c Coturn, every string) string {
	return sourceStun(every, false) + `families = ["ipv4"]` + "\n" + ruleCoturn(c.File, c.Unit)
}

// sourceStun asks the lab's STUN servers, at their IPv6 addresses too if so.
func sourceStun(every string, six bool) string {
	var servers []string
	for _, s := range stuns {
		servers = append(servers, fmt.Sprintf("%q", s.Addr()))
		if six {
			servers = append(servers, fmt.Sprintf("%q", s.Addr6()))
		}
	}
	return fmt.Sprintf("[source.stun]\nservers = [%s]\nevery = %q\nagree = 2\n", strings.Join(servers, ", "), every)
}

func ruleCoturn(file, unit string) string {
	return fmt.Sprintf("\n[[rule]]\non = [\"started\", \"ip-changed\"]\ndo = [\"rotate coturn %s\", \"restart %s\"]\n",
		file, unit)
}

// watching starts netwatch with a configuration and waits until it knows the
// address and has no more to do.
func watching(t *testing.T, config string, know netip.Addr) {
	t.Helper()
	begin(t, config)
	idle(t, know)
}

// begin starts netwatch with a configuration; it is ready on return, and may
// have more to do.
func begin(t *testing.T, config string) {
	t.Helper()
	must(t, install())
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	t.Cleanup(func() {
		if t.Failed() {
			log, err := server.Exec(context.Background(), "journalctl", "-b", "-o", "cat", "-n", "60", "-u", "netwatch.service")
			t.Logf("the log of netwatch (%v):\n%s", err, log)
		}
	})
	shell(t, "systemctl reset-failed netwatch.service 2>/dev/null; systemctl enable -q --now netwatch.service")
}

// rootUnit makes the daemon one with root's access to files, as before it had
// none. The tests of certificates have it: their keys are for root alone, and
// the installed daemon is not given them.
const rootUnit = `[Service]
User=root
Group=root
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_LEASE
ProtectSystem=no
ProtectProc=default
SystemCallFilter=
`

// asRoot has netwatch run as root until the test ends.
func asRoot(t *testing.T) {
	t.Helper()
	must(t, install())
	const dir = "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/lab-root.conf", rootUnit, 0o644))
	shell(t, "systemctl daemon-reload")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "systemctl stop netwatch.socket netwatch.service; rm "+dir+
			"/lab-root.conf; systemctl daemon-reload"); err != nil {
			t.Error(err)
		}
	})
}

// A status is what these tests want of `netwatch status --json`.
type status struct {
	Addresses map[string]struct{ Address netip.Addr }
	Rules     []struct {
		Name             string
		On, Do           []string
		Running, Waiting any
		Last             *struct{ Outcome string }
	}
}

// idle waits until netwatch knows an address, every rule rests, and those on
// started have run.
func idle(t *testing.T, know netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error {
		text, err := server.Exec(ctx, "netwatch", "status", "--json")
		if err != nil {
			return err
		}
		return atRest(text, know)
	}))
}

// atRest says what keeps netwatch from resting.
func atRest(text string, know netip.Addr) error {
	var s status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("reading the status: %w", err)
	}
	family := "ipv4"
	if know.Is6() {
		family = "ipv6"
	}
	if got := s.Addresses[family].Address; got != know {
		return fmt.Errorf("netwatch knows %q, not %s", got, know)
	}
	for _, r := range s.Rules {
		if r.Running != nil || r.Waiting != nil || r.Last == nil && slices.Contains(r.On, "started") {
			return fmt.Errorf("the rule %s has not run or does not rest: %s", r.Name, text)
		}
	}
	return nil
}

// fire fires an event and returns what was printed, on both outputs, and the
// exit code. What takes longer than any limit in these tests is broken off.
func fire(t *testing.T, words ...string) (string, int) {
	t.Helper()
	out, err := server.Command(t.Context(), append([]string{"netwatch", "fire", "--timeout", "15s"},
		words...)...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	must(t, err)
	return string(out), 0
}

// unlimited lifts the start limit of a unit: a test that measures changes one
// by one would otherwise measure how long netwatch keeps within it.
func unlimited(t *testing.T, unit string) {
	t.Helper()
	dir := "/etc/systemd/system/" + unit + ".d"
	must(t, server.WriteFile(dir+"/unlimited.conf", "[Unit]\nStartLimitIntervalSec=0\n", 0o644))
	shell(t, "systemctl daemon-reload")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c", "rm -r "+dir+" && systemctl daemon-reload")
		if err != nil {
			t.Error(err)
		}
	})
}

// incarnation is which process of a unit this is.
func incarnation(t *testing.T, unit string) string {
	t.Helper()
	return show(t, unit, "InvocationID") + " " + show(t, unit, "MainPID")
}

// wait lets time pass in which something must not happen, or so that changes
// meet the polls at different moments.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
}

// undo has a command line run in the server when a test ends.
func undo(t *testing.T, line string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", line); err != nil {
			t.Error(err)
		}
	})
}

// says waits until a command line in the server prints all of these words.
func says(t *testing.T, line string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		out, err := server.Exec(ctx, "sh", "-c", line)
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("%s does not say %q (%w):\n%s", line, word, err, out)
			}
		}
		return nil
	}))
}

// logSince is a command line that prints what netwatch logs from now on. The cursor is
// of netwatch's own last line, if it has one: behind another's, journalctl passes over
// netwatch's next.
func logSince(t *testing.T) string {
	t.Helper()
	cursor := shell(t, `for of in "-u netwatch.service" ""; do
		journalctl -b $of -n 1 --show-cursor -o cat | sed -n "s/^-- cursor: //p"
	done | head -n 1`)
	return "journalctl -b -o cat -u netwatch.service --after-cursor='" + cursor + "'"
}
