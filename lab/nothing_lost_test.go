//go:build lab

// 2. Nothing accepted is lost.

package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// marking is a rule whose runs can be counted outside of the daemon.
const marking = `
[[rule]]
on = ["mark"]
settle = "0s"
do = ["exec /usr/local/bin/mark"]
`

// marks is how often that rule has run.
func marks(t *testing.T) int {
	t.Helper()
	return len(strings.Fields(shell(t, "cat /var/lib/netwatch/marks 2>/dev/null || true")))
}

func mark(t *testing.T) {
	t.Helper()
	must(t, server.WriteFile("/usr/local/bin/mark", "#!/bin/sh\necho mark >>/var/lib/netwatch/marks\n", 0o755))
	shell(t, "rm -f /var/lib/netwatch/marks")
}

// What is fired while netwatch is down starts it, and is acted on.
func TestFiredWhileDown(t *testing.T) {
	fresh(t, YunoHost)
	mark(t)
	watching(t, configuration(YunoHost, "1h")+marking, FirstPublic)
	shell(t, "systemctl stop netwatch.service")
	if state := show(t, "netwatch.socket", "ActiveState"); state != "active" {
		t.Fatalf("netwatch.socket is %s", state)
	}
	shell(t, "netwatch fire mark")
	if n := marks(t); n != 1 {
		t.Errorf("the rule ran %d times", n)
	}
}

// What is fired while netwatch restarts waits for it: nothing is refused.
func TestFiredWhileRestarting(t *testing.T) {
	fresh(t, YunoHost)
	mark(t)
	watching(t, configuration(YunoHost, "1h")+marking, FirstPublic)
	restarts := make(chan error, 1)
	go func() {
		_, err := server.Exec(t.Context(), "sh", "-c",
			"for i in 1 2 3 4 5; do systemctl reset-failed netwatch.service; systemctl restart netwatch.service || exit; done")
		restarts <- err
	}()
	fired, began := 0, time.Now()
	for done := false; !done; {
		select {
		case err := <-restarts:
			must(t, err)
			done = true
		default:
		}
		shell(t, "netwatch fire mark --no-wait")
		fired++
	}
	shell(t, "netwatch fire mark") // A run of the last daemon: all before it have ended
	t.Logf("%d events fired in %v, the rule ran %d times", fired, time.Since(began).Round(time.Millisecond), marks(t))
	if n := marks(t); n < 5 || n > fired+1 {
		t.Errorf("%d events, and the rule ran %d times", fired, n)
	}
}

// A socket unit that is not what the configuration says is refused clearly.
func TestOtherSocket(t *testing.T) {
	fresh(t, YunoHost)
	text := "[daemon]\nsocket = \"/run/netwatch/other.sock\"\n\n" + configuration(YunoHost, "1h")
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", text, 0o644))
	shell(t, "systemctl start netwatch.socket; systemctl start netwatch.service; systemctl stop netwatch.service")
	log := shell(t, "journalctl -b -o cat -u netwatch.service -n 20")
	want := fmt.Sprintf("it is %s, and the configuration says %s", "/run/netwatch/netwatch.sock",
		"/run/netwatch/other.sock")
	if !strings.Contains(log, want) {
		t.Errorf("the log does not say %q:\n%s", want, log)
	}
}

// What OpenVPN's scripts handed over while netwatch hung is acted on although it
// is restarted then, as the hook tells one to.
func TestHungThenRestarted(t *testing.T) {
	asNobody(t)
	fresh(t, YunoHost)
	rule := "\n[source.openvpn]\n\n[[rule]]\non = [\"vpn-changed\"]\nsettle = \"0s\"\ndo = [\"exec /bin/true\"]\n"
	watching(t, configuration(YunoHost, "1h")+rule, FirstPublic)
	for round := range 4 {
		shell(t, "systemctl kill --kill-who=main -s STOP netwatch.service")
		shell(t,
			fmt.Sprintf("for i in $(seq 40); do runuser -u nobody -- env script_type=r%d-$i netwatch hook openvpn 2>/dev/null "+
				"|| exit; done", round))
		shell(t, "systemctl restart netwatch.service")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		must(t, until(ctx, 100*time.Millisecond, func() error {
			out, err := server.Exec(t.Context(), "sh", "-c",
				fmt.Sprintf(`journalctl -b -o cat -u netwatch.service | grep -o '"script":"r%d-[0-9]*"' | sort -u | wc -l`, round))
			if err == nil && out != "40" {
				err = fmt.Errorf("%s events of 40 were accepted", out)
			}
			return err
		}))
		cancel()
	}
}

// The disk is full: netwatch goes on, for it has the room that it needs.
func TestFullDisk(t *testing.T) {
	smallState(t)
	shell(t, "head -c 1M /dev/zero >/var/lib/netwatch/filler 2>/dev/null; true")
	if out := shell(t, "head -c 8k /dev/zero 2>&1 >/var/lib/netwatch/more || :"); !strings.Contains(out, "No space left") {
		t.Errorf("the disk is not full: %s", out)
	}
	to := Public(73)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
	idle(t, to)
}

// smallState starts netwatch with its state on a disk of 64 KB.
func smallState(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	shell(t, "mkdir -p /var/lib/netwatch && mount -t tmpfs -o size=64k,mode=700 nwstate /var/lib/netwatch")
	undo(t, "systemctl stop netwatch.service; umount -l /var/lib/netwatch")
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
}

// The state cannot be written: the address is right all the same, and what is at
// risk is said with its remedy wherever somebody looks. Once it can be written it is,
// by itself, and survives a kill. (Where netwatch was once, there is room: the state
// before the newest is taken away.)
func TestStateCannotBeWritten(t *testing.T) {
	smallState(t)
	const dir = "/var/lib/netwatch"
	for n, c := range []struct{ breaks, says, hint, mends string }{
		{
			"cd " + dir + "; rm -f state.json.before; dd if=/dev/zero of=filler bs=1k 2>/dev/null; " +
				"true", "no space left on device",
			"make room there: df -h " + dir, "rm " + dir + "/filler",
		},
		{
			"mount -o remount,ro " + dir, "read-only file system",
			"mount it writable: mount -o remount,rw", "mount -o remount,rw " + dir,
		},
		{
			"cd " + dir + "; rm state.json*; chown root .", "permission denied",
			"chown $(id -u netwatch):$(id -g netwatch) " + dir, "chown netwatch " + dir,
		},
	} {
		hint := shell(t, `printf %s "`+c.hint+`"`)
		log := logSince(t)
		shell(t, c.breaks)
		to := Public(74 + n)
		must(t, world.SetPublic(t.Context(), to))
		right(t, to, to, 10*time.Second)
		says(t, log, c.says, "would be forgotten by a restart", hint)
		says(t, "netwatch status", "not on disk: writing the state", c.says, hint)
		says(t, "netwatch doctor", "problem  state: writing the state", c.says, hint)
		says(t, "curl -s --unix-socket /run/netwatch/netwatch.sock http://netwatch/metrics", "netwatch_state_unwritten 1")
		out, code := fire(t, "ip-changed")
		noted := strings.Contains(out, "note: it is not on disk: writing the state")
		if code != 0 || !noted || !strings.Contains(out, "hint: "+hint) {
			t.Errorf("netwatch fire exits %d:\n%s", code, out)
		}
		if logged := shell(t, log); strings.Count(logged, "would be forgotten") != 1 {
			t.Errorf("it is not logged once:\n%s", logged)
		}
		shell(t, c.mends)
		says(t, log, "the state is on disk again")
		says(t, "netwatch status && echo well", "well")
		shell(t, "systemctl kill -s KILL netwatch.service")
		says(t, "netwatch status", "ipv4", to.String())
		idle(t, to)
	}
}

// The directory of the state is removed under netwatch, whose sandbox loses it by
// that: the address is right all the same, and the remedy that is said helps.
func TestStateRemoved(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	shell(t, "rm -rf /var/lib/netwatch")
	to := Public(79)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
	says(t, "netwatch status", "not on disk: writing the state", "systemctl restart netwatch.service")
	shell(t, "install -d -m 700 -o netwatch -g netwatch /var/lib/netwatch")
	says(t, "netwatch status", "it was removed and made anew, outside of the sandbox: systemctl restart netwatch.service")
	shell(t, "systemctl restart netwatch.service")
	says(t, "netwatch status && echo well", "well")
	to = Public(80)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
}

// A damaged state, or what lies in its place and is no file, is set aside, which is
// said, and netwatch begins anew where there is none before it; nothing that its user
// puts there keeps it from that.
func TestDamagedState(t *testing.T) {
	unlimited(t, YunoHost.Unit)
	for n, damage := range []string{"head -c 300 /dev/urandom >", "mkfifo ", "mkdir ", "ln -s /etc/shadow "} {
		fresh(t, YunoHost)
		must(t, install())
		shell(t, "install -d -m 700 -o netwatch -g netwatch /var/lib/netwatch && cd /var/lib/netwatch && "+
			"runuser -u netwatch -- mkfifo .state.json.next state.json.before && runuser -u netwatch -- sh -c '"+
			damage+"state.json'")
		to := Public(77 + n)
		must(t, world.SetPublic(t.Context(), to))
		log := logSince(t)
		watching(t, configuration(YunoHost, every.String()), to)
		says(t, log, "it was damaged; it is kept as /var/lib/netwatch/state.json.damaged-",
			"and netwatch begins from the present")
		right(t, to, to, 5*time.Second)
	}
}

// A second netwatch on the same state is refused and told why; the first goes on.
func TestSecondNetwatch(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	out, err := server.Command(t.Context(), "netwatch", "run").CombinedOutput()
	if !errors.As(err, new(*exec.ExitError)) || !strings.Contains(string(out),
		"another netwatch runs on it\nhint: stop the other one") {
		t.Errorf("%v:\n%s", err, out)
	}
	to := Public(78)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 20*time.Second)
}
