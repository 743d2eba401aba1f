//go:build lab

// 6. A caller is never hurt: who floods keeps nobody out.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// installAttack puts the program that attacks into the server, once.
var installAttack = sync.OnceValue(func() error {
	build := command(context.Background(), "go", "build", "-o", server.path("/usr/local/bin/attack"), "./attack")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building attack: %w: %s", err, out)
	}
	return nil
})

// controlSocket is the one for everyone.
const controlSocket = "/run/netwatch/netwatch.sock"

// What somebody on the machine may do to netwatch at most: how much memory it
// takes, how much of a processor, and how much longer a rotation.
const (
	mayTakeKB   = 16 << 10
	mayWork     = 0.5
	mayHoldUp   = time.Second
	firesOfRoot = 60
	hooks       = 40
)

// attacks are what somebody does to a control socket, and as whom.
var attacks = []struct{ name, mode, user, socket string }{
	{"a megabyte of headers in each connection", "headers", "synapse", controlSocket},
	{"the same by a user of OpenVPN's source", "headers", "nobody", controlSocket + ".source"},
	{"a full queue", "connect", "synapse", controlSocket},
	{"a full queue of the sources", "connect", "nobody", controlSocket + ".source"},
	{"requests that do not end", "body", "nobody", controlSocket + ".source"},
	{"waiting", "wait", "nobody", controlSocket + ".source"},
	{"requests without end", "requests", "synapse", controlSocket},
	{"eighty users", "users", "root", controlSocket},
}

// Whatever somebody does to the control socket, root is served as if he did not,
// OpenVPN's hooks are heard, the address is written, and netwatch does not grow.
func TestAttacks(t *testing.T) {
	asNobody(t)
	fresh(t, YunoHost)
	must(t, installAttack())
	unlimited(t, YunoHost.Unit)
	rules := configuration(YunoHost, "1h") + strings.Replace(vpnRule(YunoHost), "5s", "1h", 1) + marking
	watching(t, rules, FirstPublic)
	mark(t)
	usual := rotated(t, Public(80))
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			shell(t, "systemctl stop netwatch.socket netwatch.service; rm -r /var/lib/netwatch")
			must(t, world.SetPublic(t.Context(), Public(80)))
			watching(t, rules, Public(80))
			pid := pidHere(t, show(t, "netwatch.service", "MainPID"))
			before := largest(t, pid, true)
			began, worked := time.Now(), processorTime(t, pid)
			besieged(t, a.user, a.mode, a.socket)
			share := float64(processorTime(t, pid)-worked) / float64(time.Since(began))
			slowest := firedByRoot(t)
			took := rotated(t, Public(81+i))
			if a.user != "nobody" { // Who can take the place of OpenVPN's user is that user.
				heardOf(t, fmt.Sprintf("under-%d", i))
			}
			after := largest(t, pid, false)
			t.Logf("%d KB, %d before; %.0f %% of a processor", after, before, 100*share)
			t.Logf("slowest fire %v, rotation %v, usually %v", slowest, took, usual)
			if after > before+mayTakeKB {
				t.Errorf("it grows by %d KB", after-before)
			}
			if share > mayWork {
				t.Errorf("it has %.0f %% of a processor", 100*share)
			}
			if took > usual+mayHoldUp {
				t.Errorf("a rotation takes %v, and %v without", took, usual)
			}
		})
	}
}

// besieged has netwatch attacked until the test ends.
func besieged(t *testing.T, user, mode, socket string) {
	t.Helper()
	const line = "systemd-run -q --unit=attack -p User=%s -p LimitNOFILE=100000 /usr/local/bin/attack %s %s"
	shell(t, fmt.Sprintf(line, user, mode, socket))
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "systemctl", "stop", "attack.service"); err != nil {
			t.Error(err)
		}
	})
	wait(t, 6*time.Second) // All are there, and who sends slowly is let go and comes back.
}

// largest is the resident memory in KB that a process has had at most since it was
// forgotten (proc_pid_status(5), proc_pid_clear_refs(5)).
func largest(t *testing.T, pid int, forget bool) int {
	t.Helper()
	if forget {
		must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0))
	}
	return memoryOf(t, pid, "VmHWM")
}

// processorTime is what a process has had of the processors (proc_pid_stat(5)), in
// whose table it is the fourteenth and the fifteenth.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), ") ") // The name before may hold blanks.
	var ticks time.Duration
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		must(t, err)
		ticks += time.Duration(n)
	}
	return ticks * time.Second / 100
}

// firedByRoot fires one after the other, each to the end of its run, until one
// fails or takes too long, and returns how long the slowest took.
func firedByRoot(t *testing.T) (slowest time.Duration) {
	t.Helper()
	for n := range firesOfRoot {
		began := time.Now()
		out, code := fire(t, "mark")
		took := time.Since(began)
		slowest = max(slowest, took)
		if code != 0 || took > time.Second {
			t.Errorf("the fire %d of root's ends with %d after %v: %s", n+1, code, took, out)
			break
		}
	}
	return slowest
}

// rotated changes the address, has netwatch look, and returns how long it took
// until callers were right.
func rotated(t *testing.T, to netip.Addr) time.Duration {
	t.Helper()
	must(t, world.SetPublic(t.Context(), to))
	began := time.Now()
	if out, code := fire(t, "ip-changed"); code != 0 {
		t.Errorf("ip-changed: %s", out)
	}
	return right(t, to, to, 15*time.Second).Sub(began)
}

// heardOf has nobody's OpenVPN run its scripts, and wants each to be heard; more
// than some are slowed.
func heardOf(t *testing.T, script string) {
	t.Helper()
	const line = "for i in $(seq %d); do runuser -u nobody -- env script_type=%s netwatch hook openvpn 2>&1; done"
	out := shell(t, fmt.Sprintf(line, hooks, script))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := until(ctx, 100*time.Millisecond, func() error {
		if n := strings.Count(shell(t, "netwatch history"), "vpn-changed from openvpn script="+script); n != hooks {
			return fmt.Errorf("%d of %d scripts were heard", n, hooks)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%v; the hooks said:\n%.2000s", err, out)
	}
}

// installFlood puts the program that floods into the server, once.
var installFlood = sync.OnceValue(func() error {
	build := command(context.Background(), "go", "build", "-o", server.path("/usr/local/bin/flood"), "./flood")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building flood: %w: %s", err, out)
	}
	return nil
})

// A footprint is what a process holds: resident memory, of that what is its own,
// and file descriptors.
type footprint struct{ resident, anonymous, files int }

func (f footprint) String() string {
	return fmt.Sprintf("%d KB resident (%d KB its own), %d descriptors", f.resident, f.anonymous, f.files)
}

// footprintOf is that of a process of this machine.
func footprintOf(t *testing.T, pid int) footprint {
	t.Helper()
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	return footprint{memoryOf(t, pid, "VmRSS"), memoryOf(t, pid, "RssAnon"), len(open)}
}

// memoryOf is a number of KB of a process of this machine (proc_pid_status(5)).
func memoryOf(t *testing.T, pid int, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "\n"+key+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Fatalf("there is no %s in\n%s", key, text)
	}
	n, err := strconv.Atoi(fields[0])
	must(t, err)
	return n
}

// floodRule takes what is fired, and does so little that nothing but the flood
// costs anything.
const floodRule = "\n[[rule]]\nname = \"flooded\"\non = [\"flood\"]\nsettle = \"100ms\"\ndo = [\"exec /bin/true\"]\n"

// A flood of events, of those who may and of those who may not, leaves memory and
// descriptors level, and others are served meanwhile.
func TestFlood(t *testing.T) {
	asNobody(t)
	fresh(t, YunoHost)
	must(t, installFlood())
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n"+ruleCoturn(YunoHost.File, YunoHost.Unit)+
		strings.Replace(floodRule, `on = ["flood"]`, `on = ["flood", "started"]`, 1), FirstPublic)
	pid := pidHere(t, show(t, "netwatch.service", "MainPID"))
	for _, c := range []struct{ user, says string }{
		{"nobody", "accepted 0, forbidden "},
		{"root", "forbidden 0, cut off 0"},
	} {
		flooded(t, c.user, 1000, pid) // After which all that is made once is there.
		before := footprintOf(t, pid)
		n := 200 * many(25)
		out, slowest := flooded(t, c.user, n, pid)
		after := footprintOf(t, pid)
		t.Logf("%d by %s: %s; status meanwhile: %s\nbefore %v\nafter  %v", n, c.user, out, slowest, before, after)
		if !strings.Contains(out, c.says) {
			t.Errorf("%s: %s, want %s", c.user, out, c.says)
		}
		if after.anonymous > before.anonymous+8<<10 || after.files > before.files+2 {
			t.Errorf("%s: it holds more: %v, was %v", c.user, after, before)
		}
	}
	to := Public(70)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
}

// flooded has a user flood netwatch, and returns what came of it, and how long a
// status took root meanwhile. It waits until every connection is closed.
func flooded(t *testing.T, user string, n, pid int) (string, Times) {
	t.Helper()
	idleFiles := footprintOf(t, pid).files
	type ending struct {
		out string
		err error
	}
	ended := make(chan ending, 1)
	go func() {
		out, err := server.ExecAs(t.Context(), user, "flood", "/run/netwatch/netwatch.sock", "flood", strconv.Itoa(n))
		ended <- ending{out, err}
	}()
	var times Times
	for {
		select {
		case e := <-ended:
			must(t, e.err)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_ = until(ctx, 20*time.Millisecond, func() error {
				if now := footprintOf(t, pid).files; now > idleFiles {
					return fmt.Errorf("%d descriptors are open", now)
				}
				return nil
			})
			return e.out, times
		case <-time.After(20 * time.Millisecond):
		}
		asked := time.Now()
		shell(t, "netwatch status >/dev/null")
		times = append(times, time.Since(asked))
	}
}
