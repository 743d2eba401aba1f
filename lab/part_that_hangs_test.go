//go:build lab

package lab

import (
	"context"
	"strings"
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
