package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/state"
)

// quiet is a daemon that is not run, and the log that it writes.
func quiet(t *testing.T) (*Daemon, *strings.Builder) {
	t.Helper()
	log := &strings.Builder{}
	file := configured(t, "[[rule]]\non = [\"x\"]\ndo = [\"exec /bin/true\"]\n")
	d, err := New(file, "devel", zerolog.New(zerolog.SyncWriter(log)), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, log
}

// told listens as systemd does, and returns a function that is what has been
// told since it was last called.
func told(t *testing.T) func() []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() (all []string) {
		// What was sent is there: a datagram of a unix socket does not travel.
		for buf := make([]byte, 100); ; {
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(buf[:n]))
		}
	}
}

// asleep is a source that says that it began a look at a certain time.
type asleep struct {
	netwatch.Source
	since time.Time
}

func (a asleep) Looking() time.Time { return a.since }

// Whoever is alive feeds; a source that does not come to an end, and a lock that
// is held for ever, keep the watchdog hungry.
func TestFeed(t *testing.T) {
	d, log := quiet(t)
	heard := told(t)
	if d.feed(); fmt.Sprint(heard()) != "[WATCHDOG=1]" {
		t.Error("a daemon that is well does not feed the watchdog")
	}
	w := &watcher{Source: config.Source{Name: "stun"}, source: asleep{since: time.Now().Add(-2 * hungAfter)}}
	d.watch.all = []*watcher{w}
	if d.feed(); len(heard()) != 0 {
		t.Error("a source hangs, and the watchdog is fed")
	}
	text := log.String()
	if !strings.Contains(text, "stun is still at a look after 1m0s") ||
		!strings.Contains(text, `"hint":"systemd restarts netwatch`) {
		t.Errorf("the log says: %s", text)
	}
	w.source = asleep{}

	d.watch.mu.Lock()
	fed := make(chan struct{})
	go func() {
		d.feed()
		close(fed)
	}()
	if len(heard()) != 0 {
		t.Error("a lock is held, and the watchdog is fed")
	}
	d.watch.mu.Unlock()
	<-fed
	if fmt.Sprint(heard()) != "[WATCHDOG=1]" {
		t.Error("what was hung for a while does not feed the watchdog afterwards")
	}
}

// A write that the disk does not end makes the daemon hung, after a while. The
// change that waits is a deliberate fake: no test can have a hung disk.
func TestStuckWriteIsHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := quiet(t)
		release, done := make(chan struct{}), make(chan error)
		go func() { done <- d.store.Update(func(*state.State) { <-release }) }()
		synctest.Wait()
		if err := d.hung(); err != nil {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(hungAfter + time.Second)
		if err := d.hung(); err == nil || !strings.Contains(err.Error(), "the state is still not written") {
			t.Errorf("after a while: %v", err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := d.hung(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// The daemon feeds by itself as often as systemd wants, and not where there is
// no watchdog.
func TestDaemonFeedsItsWatchdog(t *testing.T) {
	d, _ := quiet(t)
	heard := told(t)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.run(ctx, nil) }()
	deadline := time.Now().Add(10 * time.Second)
	for fed := 0; fed < 3 && !t.Failed(); fed += strings.Count(strings.Join(heard(), " "), systemd.SdNotifyWatchdog) {
		if time.Now().After(deadline) {
			t.Errorf("the watchdog was fed %d times in 10 s", fed)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Setenv("WATCHDOG_USEC", "")
	if ticks, err := watchdog(); ticks != nil || err != nil {
		t.Errorf("without a watchdog: %v, %v", ticks, err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := watchdog(); err == nil || !strings.Contains(err.Error(), "reading what systemd's watchdog wants") {
		t.Errorf("a wrong one: %v", err)
	}
}
