//go:build lab

package lab

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
