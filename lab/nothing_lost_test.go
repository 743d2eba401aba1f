//go:build lab

package lab

import (
	"context"
	"fmt"
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
		_, err := server.Exec(t.Context(), "sh", "-c", "for i in 1 2 3 4 5; do systemctl reset-failed netwatch.service; systemctl restart netwatch.service || exit; done")
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
	shell(t, "netwatch fire mark") // a run of the last daemon: all before it have ended
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
	want := fmt.Sprintf("it is %s, and the configuration says %s", "/run/netwatch/netwatch.sock", "/run/netwatch/other.sock")
	if !strings.Contains(log, want) {
		t.Errorf("the log does not say %q:\n%s", want, log)
	}
}

// What OpenVPN's scripts handed over while netwatch hung is acted on although it
// is restarted then, as the hook tells one to.
func TestHungThenRestarted(t *testing.T) {
	fresh(t, YunoHost)
	rule := "\n[source.openvpn]\n\n[[rule]]\non = [\"vpn-changed\"]\nsettle = \"0s\"\ndo = [\"exec /bin/true\"]\n"
	watching(t, configuration(YunoHost, "1h")+rule, FirstPublic)
	for round := range 4 {
		shell(t, "systemctl kill --kill-who=main -s STOP netwatch.service")
		shell(t, fmt.Sprintf("for i in $(seq 40); do runuser -u nobody -- env script_type=r%d-$i netwatch hook openvpn 2>/dev/null || exit; done", round))
		shell(t, "systemctl restart netwatch.service")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		must(t, until(ctx, 100*time.Millisecond, func() error {
			out, err := server.Exec(t.Context(), "sh", "-c", fmt.Sprintf(`journalctl -b -o cat -u netwatch.service | grep -o '"script":"r%d-[0-9]*"' | sort -u | wc -l`, round))
			if err == nil && out != "40" {
				err = fmt.Errorf("%s events of 40 were accepted", out)
			}
			return err
		}))
		cancel()
	}
}
