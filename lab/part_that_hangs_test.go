//go:build lab

// A part that hangs holds netwatch up no longer than it must.

package lab

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leftovers has a step that leaves a process behind which no SIGTERM ends, and one
// that takes its time and would tell if it were told to end.
const leftovers = `
[[rule]]
on = ["leave"]
settle = "0s"
do = ["exec /usr/local/bin/lab-leave"]
[[rule]]
on = ["slow"]
settle = "0s"
do = ["exec /usr/local/bin/lab-slow"]
`

var leftoverPrograms = map[string]string{
	"lab-leave": "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM HUP INT; exec sleep 4321' </dev/null >/dev/null 2>&1 &\n",
	"lab-slow":  "#!/bin/sh\ntrap 'echo told to end; exit 1' TERM\nfor n in 1 2 3 4 5 6 7 8; do sleep 0.25; done\n",
}

// leaving starts netwatch and has a step of its leave a process behind.
func leaving(t *testing.T) {
	t.Helper()
	fresh(t, YunoHost)
	for name, text := range leftoverPrograms {
		must(t, server.WriteFile("/usr/local/bin/"+name, text, 0o755))
	}
	begin(t, leftovers)
	undo(t, "pkill -KILL -f '^sleep 4321' || true")
	leave(t)
}

func leave(t *testing.T) {
	t.Helper()
	if out, code := fire(t, "leave"); code != 0 {
		t.Fatalf("the step that leaves something behind:\n%s", out)
	}
	says(t, "pgrep -u netwatch -f '^sleep 4321' && echo left", "left")
}

// What a step has left behind holds up neither a restart, as by an upgrade, nor the
// start after a crash.
func TestLeftoverHoldsNothingUp(t *testing.T) {
	const promise = 5 * time.Second
	leaving(t)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := server.Exec(ctx, "systemctl", "restart", "netwatch.service")
	t.Logf("restarted after %v (%v)", time.Since(began), err)
	if time.Since(began) > promise {
		t.Fatalf("a restart took more than %v", promise)
	}
	leave(t)
	before := show(t, "netwatch.service", "MainPID")
	began = time.Now()
	shell(t, "systemctl kill --kill-whom=main -s KILL netwatch.service")
	if took := back(t, before).Sub(began); took > promise {
		t.Errorf("after a crash it is back after %v", took)
	}
	if left := shell(t, "pgrep -u netwatch -f '^sleep 4321' || true"); left != "" {
		t.Errorf("of what was left behind there is still %s", left)
	}
}

// A program that netwatch waits for is let come to its end while it drains.
func TestDrainLetsProgramsEnd(t *testing.T) {
	leaving(t)
	var out strings.Builder
	slow := server.Command(t.Context(), "netwatch", "fire", "slow")
	slow.Stdout, slow.Stderr = &out, &out
	must(t, slow.Start())
	says(t, "pgrep -u netwatch -f lab-slow && echo runs", "runs")
	shell(t, "systemctl restart netwatch.service")
	must(t, slow.Wait())
	if !strings.Contains(out.String(), "exec /usr/local/bin/lab-slow: changed") {
		t.Errorf("the program was not let come to its end:\n%s", out.String())
	}
}

// hungRule has a step that needs polkit and systemd.
const hungRule = `
[[rule]]
on = [%q]
settle = "0s"
timeout = %q
retry = "0s"
do = ["restart lab-hung.service"]
`

// While polkit or systemd stands still, the status says what the step waits for; in
// the end that is in its error, with what helps. On the first release the step has
// time enough for systemd to give polkit up (25 s), on the others it has not.
func TestSystemThatHangs(t *testing.T) {
	patience := "40s"
	onReleases(t, func(t *testing.T) {
		fresh(t, YunoHost)
		must(t, server.WriteFile("/etc/systemd/system/lab-hung.service", "[Service]\nExecStart=/bin/sleep infinity\n", 0o644))
		shell(t, "systemctl daemon-reload; systemctl start polkit.service")
		undo(t, "systemctl stop lab-hung.service")
		text := ""
		for event, timeout := range map[string]string{"polkit": patience, "systemd": "4s"} {
			text += fmt.Sprintf(hungRule, event, timeout)
		}
		patience = "4s"
		begin(t, text)
		shell(t, "systemctl kill --kill-whom=main -s STOP polkit.service")
		hangs(t, "polkit", "systemd, which asks polkit whether it may",
			"polkit does not answer systemd", "systemctl restart polkit.service")
		shell(t, "systemctl restart polkit.service")
		if out, code := fire(t, "polkit"); code != 0 {
			t.Errorf("after what the hint says:\n%s", out)
		}
		must(t, syscall.Kill(server.pid, syscall.SIGSTOP))
		t.Cleanup(func() { _ = syscall.Kill(server.pid, syscall.SIGCONT) })
		hangs(t, "systemd", "systemd, process 1", "systemd does not answer", "systemctl status")
		must(t, syscall.Kill(server.pid, syscall.SIGCONT))
		if out, code := fire(t, "systemd"); code != 0 {
			t.Errorf("once systemd goes on:\n%s", out)
		}
	})
}

// hangs fires an event whose step does not get on, and wants the status to say what
// it waits for, and the step what is wrong and what helps.
func hangs(t *testing.T, event, waits string, wanted ...string) {
	t.Helper()
	began := time.Now()
	var out strings.Builder
	fire := server.Command(t.Context(), "netwatch", "fire", "--timeout", "60s", event)
	fire.Stdout, fire.Stderr = &out, &out
	must(t, fire.Start())
	says(t, "netwatch status", "restart lab-hung.service, since ", "waits for "+waits)
	err := fire.Wait()
	t.Logf("after %v: %v\n%s", time.Since(began), err, out.String())
	for _, word := range wanted {
		if !strings.Contains(out.String(), word) {
			t.Errorf("it does not say %q", word)
		}
	}
}

// A netwatch that hangs is restarted by systemd, and then does its work; one that
// is well is left alone.
func TestHungNetwatchIsRestarted(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	if unit := shell(t, "systemctl cat netwatch.service"); !strings.Contains(unit, "\nWatchdogSec=30\n") {
		t.Errorf("the unit as it is installed has no watchdog:\n%s", unit)
	}
	quickRestart(t)
	must(t, server.WriteFile("/etc/systemd/system/netwatch.service.d/dog.conf", "[Service]\nWatchdogSec=1\n", 0o644))
	shell(t, "systemctl daemon-reload")
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	before := incarnation(t, "netwatch.service")
	wait(t, 3*time.Second)
	if now := incarnation(t, "netwatch.service"); now != before {
		t.Fatal("a netwatch that is well was restarted")
	}
	log := logSince(t)
	hung := time.Now()
	shell(t, "systemctl kill --kill-whom=main -s STOP netwatch.service")
	to := Public(79)
	must(t, world.SetPublic(t.Context(), to))
	t.Logf("right %v after it hung", right(t, to, to, 20*time.Second).Sub(hung))
	if got := show(t, "netwatch.service", "NRestarts"); got != "1" {
		t.Errorf("netwatch was restarted %s times", got)
	}
	says(t, log, "Watchdog timeout", "goroutine 1 ")
}
