//go:build lab

package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

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
	fresh(t, YunoHost)
	must(t, installFlood())
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n"+ruleCoturn(YunoHost.File, YunoHost.Unit)+
		strings.Replace(floodRule, `on = ["flood"]`, `on = ["flood", "started"]`, 1), FirstPublic)
	pid := pidHere(t, show(t, "netwatch.service", "MainPID"))
	for _, c := range []struct{ user, says string }{{"nobody", "accepted 0, forbidden "}, {"root", "forbidden 0, cut off 0"}} {
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
