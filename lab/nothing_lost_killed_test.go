//go:build lab

// 2. Nothing accepted is lost, also when netwatch is killed.

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/state"
)

// rounds is how many times netwatch is killed; a flood has 200 events for each.
var rounds = flag.Int("rounds", 0, "how many `times` to do what is done at random; 0 is few times")

// many is the number of rounds, or few.
func many(few int) int {
	if *rounds > 0 {
		return *rounds
	}
	return few
}

// phases are what netwatch can be at when it dies, in the order of a change.
var phases = []string{"not noticed", "settling", "rewriting", "restarting", "done"}

// phaseOf is what a netwatch that was killed was at, by what it left: its state,
// the new coturn.conf that was not yet in place, and coturn.conf itself, which
// must be the old one or the new one, whole.
func phaseOf(t *testing.T, from, to netip.Addr) string {
	t.Helper()
	text, err := os.ReadFile(server.path("/var/lib/netwatch/state.json"))
	must(t, err)
	var left state.State
	if err := json.Unmarshal(text, &left); err != nil {
		t.Fatalf("the state after a kill: %v:\n%s", err, text)
	}
	conf, err := os.ReadFile(server.path(YunoHost.File))
	must(t, err)
	written := string(conf) == CoturnConf(to.String())
	if !written && string(conf) != CoturnConf(from.String()) {
		t.Errorf("after a kill coturn.conf is neither the old nor the new one:\n%s", conf)
	}
	changing := false
	for _, r := range left.Runs {
		changing = changing || r.Changed
	}
	_, notPlaced := os.Stat(server.path(filepath.Dir(YunoHost.File) + "/." + filepath.Base(YunoHost.File) + ".netwatch-new"))
	switch {
	case left.Addresses["ipv4"].Address != to:
		return "not noticed"
	case len(left.Runs) == 0:
		return "done"
	case !changing && notPlaced != nil:
		return "settling"
	case !written:
		return "rewriting"
	}
	return "restarting"
}

// pidHere is the number under which this machine knows a process of the server.
func pidHere(t *testing.T, inside string) int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", server.pid))
	must(t, err)
	for _, file := range found {
		text, _ := os.ReadFile(file) // It may have ended.
		_, numbers, _ := strings.Cut(string(text), "\nNSpid:")
		line, _, _ := strings.Cut(numbers, "\n")
		pids := strings.Fields(line)
		if len(pids) < 2 || pids[len(pids)-1] != inside {
			continue
		}
		if its, _ := os.Readlink(filepath.Join(filepath.Dir(file), "ns", "pid")); its == space {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			must(t, err)
			return pid
		}
	}
	t.Fatalf("process %s of the server is not to be found", inside)
	return 0
}

// An attack is when netwatch is killed: after a while, counted from the change of
// the address or from when something is seen in the directory of coturn.conf.
type attack struct {
	// sees is the end of a name that appears there, or empty.
	sees  string
	after time.Duration
}

// anAttack is at any moment of three seconds, or in those that matter most: when
// the new file is made, and when it is in place and coturn is about to be
// restarted.
func anAttack() attack {
	switch rand.IntN(10) {
	case 0, 1:
		return attack{sees: ".netwatch-new", after: rand.N(2 * time.Millisecond)}
	case 2, 3:
		return attack{sees: "coturn.conf", after: rand.N(200 * time.Millisecond)}
	case 4, 5, 6:
		return attack{after: rand.N(time.Second)}
	}
	return attack{after: rand.N(3 * time.Second)}
}

// watchDirectory returns a function that waits until a file whose name ends so
// is made in a directory, or renamed into it. Watched are only changes after
// watchDirectory has returned, until stop: a user has 128 watches at most.
func watchDirectory(t *testing.T, dir string) (appears func(ctx context.Context, suffix string) error, stop func()) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	file := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO)
	must(t, err)
	return func(ctx context.Context, suffix string) error {
		defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Now()) })()
		for buf := make([]byte, 4096); ; {
			n, err := file.Read(buf)
			if err != nil {
				return fmt.Errorf("waiting for %s in %s: %w", suffix, dir, err)
			}
			if strings.Contains(string(buf[:n]), suffix+"\x00") {
				return nil
			}
		}
	}, func() { _ = file.Close() }
}

// strike kills netwatch, and returns when that was and once it is gone.
func (a attack) strike(t *testing.T, pid int, appears func(context.Context, string) error) time.Time {
	t.Helper()
	if a.sees != "" {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		must(t, appears(ctx, a.sees))
	}
	wait(t, a.after)
	struck := time.Now()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	must(t, until(t.Context(), time.Millisecond, func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(text), ") Z ") {
			return errors.New("it is still there")
		}
		return nil
	}))
	return struck
}

// back waits until another netwatch than inside says that it is ready.
func back(t *testing.T, inside string) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 10*time.Millisecond, func() error {
		text, err := server.Exec(ctx, "systemctl", "show", "-p", "MainPID", "-p", "ActiveState", "netwatch.service")
		if err != nil || !strings.Contains(text, "ActiveState=active") || strings.Contains(text, "MainPID="+inside+"\n") {
			return fmt.Errorf("netwatch is not back: %s: %w", text, err)
		}
		return nil
	}))
	return time.Now()
}

// quickRestart has systemd restart netwatch almost at once and as often as it
// dies, so that a round is short.
func quickRestart(t *testing.T) {
	t.Helper()
	dir := "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/quick.conf", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=20ms\n", 0o644))
	shell(t, "systemctl daemon-reload")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "systemctl stop netwatch.service; rm -r "+dir+" && systemctl daemon-reload"); err != nil {
			t.Error(err)
		}
	})
}

// A kill is one round of the test below.
type kill struct {
	phase string
	// late is from when netwatch was back until a caller was right; none when
	// the caller was right before.
	late time.Duration
}

// killOnce changes the address, kills netwatch, and waits until all is well.
func killOnce(t *testing.T, from, to netip.Addr) kill {
	t.Helper()
	appears, stop := watchDirectory(t, filepath.Dir(server.path(YunoHost.File)))
	defer stop()
	inside := show(t, "netwatch.service", "MainPID")
	pid := pidHere(t, inside)
	must(t, world.SetPublic(t.Context(), to))
	anAttack().strike(t, pid, appears)
	k := kill{phase: phaseOf(t, from, to)}
	returned := back(t, inside)
	k.late = max(0, right(t, to, to, 10*time.Second).Sub(returned))
	idle(t, to)
	right(t, to, to, time.Second) // And so it stays, once netwatch has no more to do.
	return k
}

// However netwatch is killed around a change of the address, coturn relays over
// the new one soon after netwatch is back.
func TestKilledAtAnyMoment(t *testing.T) {
	const promise = 5 * time.Second
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	quickRestart(t)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	var kills []kill
	from := FirstPublic
	for n := range many(12) {
		k := killOnce(t, from, Public(n))
		from = Public(n)
		if kills = append(kills, k); k.late > promise {
			t.Errorf("round %d, killed while %s: right only %v after netwatch was back", n, k.phase, k.late)
		}
	}
	for _, phase := range append(slices.Clone(phases), "in all") {
		var times Times
		for _, k := range kills {
			if phase == "in all" || k.phase == phase {
				times = append(times, k.late)
			}
		}
		t.Logf("%-11s: right after netwatch was back: %s", phase, times)
	}
	refusesStrangers(t, from)
}

// noted is where a rule writes for each run which certificate it was about.
const noted = "/var/lib/lab-noted"

// ruleNoted notes each renewal that was acted on. A start alone is no reason to:
// it would hide a renewal that was lost.
const ruleNoted = `
[[rule]]
on = ["cert-renewed"]
settle = "100ms"
do = ["exec /usr/local/bin/lab-note"]
`

// noting installs the program of ruleNoted, which has nothing noted yet.
func noting(t *testing.T) {
	t.Helper()
	must(t, server.WriteFile("/usr/local/bin/lab-note", "#!/bin/sh\necho \"$NETWATCH_NEW\" >>"+noted+"\n", 0o755))
	shell(t, "rm -f "+noted)
}

// A renewal that nobody watched is told when netwatch starts again, once.
func TestRenewalWhileStopped(t *testing.T) {
	fresh(t, YunoHost)
	asRoot(t)
	ways := []way{yunohost, acmesh, kubernetes, editor}
	certified(t, ways...)
	watching(t, sourceAddress()+sourceCert(ways...)+ruleRenewed, FirstPublic)
	shell(t, "systemctl stop netwatch.service")
	for _, w := range ways[:3] {
		_, err := w.put(t.Context(), 1)
		must(t, err)
	}
	shell(t, "systemctl start netwatch.service")
	news := follow(t)
	for _, w := range ways[:3] {
		if _, err := news.wait(t.Context(), 1, aboutFile(netwatch.CertRenewed, w.file)); err != nil {
			t.Fatalf("the renewal by %s: %v", w.name, err)
		}
	}
	_, err := news.wait(t.Context(), 1, ended(netwatch.CertRenewed))
	must(t, err)
	wait(t, 2*settle) // In which one too many would be told.
	all, _, _ := news.all(func(e netwatch.Entry) bool { return e.Kind == netwatch.EntryEvent && e.Event == netwatch.CertRenewed })
	if len(all) != 3 {
		t.Errorf("3 renewals are %d events: %+v", len(all), all)
	}
}

// A daemon that is killed at any moment around a renewal has acted on it in the
// end, once or at most twice.
func TestRenewalsAcrossKills(t *testing.T) {
	fresh(t, YunoHost)
	asRoot(t)
	unlimited(t, "netwatch.service")
	certified(t, yunohost)
	noting(t)
	begin(t, sourceAddress()+sourceCert(yunohost)+ruleNoted)
	const kills = 16
	var want []string
	for n := range kills {
		pair, err := yunohost.put(t.Context(), n+1)
		must(t, err)
		want = append(want, netwatch.Fingerprint(pair.Leaf.Raw))
		wait(t, time.Duration(n)*25*time.Millisecond)
		shell(t, "systemctl kill --kill-whom=main -s KILL netwatch.service; systemctl restart netwatch.service")
		actedOn(t, want[n])
	}
	got := strings.Fields(shell(t, "cat "+noted))
	if again := len(got) - kills; again > 0 {
		t.Logf("%d of %d renewals were acted on twice", again, kills)
	}
	for n, fingerprint := range want {
		times := 0
		for _, g := range got {
			if g == fingerprint {
				times++
			}
		}
		if times < 1 || times > 2 {
			t.Errorf("renewal %d was acted on %d times", n, times)
		}
	}
	if unknown := slices.DeleteFunc(got, func(g string) bool { return slices.Contains(want, g) }); len(unknown) > 0 {
		t.Errorf("these were never renewals: %v", unknown)
	}
}

// actedOn waits until the program has noted a renewal.
func actedOn(t *testing.T, fingerprint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 20*time.Millisecond, func() error {
		_, err := server.Exec(t.Context(), "grep", "-q", fingerprint, noted)
		return err
	}))
}

// It stays up however often it is killed.
func TestNoStartLimit(t *testing.T) {
	const dir = "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/lab-fast.conf", "[Service]\nRestartSec=0\n", 0o644)) // so that a limit would be reached
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "rm "+dir+"/lab-fast.conf; systemctl daemon-reload"); err != nil {
			t.Error(err)
		}
	})
	governed(t, YunoHost)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 7 {
		pid := show(t, "netwatch.service", "MainPID")
		shell(t, "kill -KILL "+pid)
		must(t, until(ctx, settle/10, func() error {
			if now := show(t, "netwatch.service", "MainPID"); now == "0" || now == pid {
				return fmt.Errorf("its process is %s", now)
			}
			return nil
		}))
	}
	idle(t, FirstPublic)
}
