//go:build lab

package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Where somebody holds a directory in the kernel that the hooks lie in, so that no signal
// ends who waits for it, the removal says so and ends, also for who waits for all that it
// prints.
func TestRemovalHeld(t *testing.T) {
	onYunoHostWithVPN(t, "1.0")
	onDisk(t, "/etc/openvpn/client")
	dpkg(t, "-i /opt/1.0.deb")
	shell(t, "netwatch init")
	holding(t, "/etc/openvpn/client")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	began := time.Now()
	out, err := server.Exec(ctx, "sh", "-c", "dpkg --remove netwatch 2>&1 | cat")
	if took := time.Since(began); ctx.Err() != nil || err != nil || !strings.Contains(out, "it is not removed") {
		t.Errorf("after %v: %v\n%s", took, err, out)
	} else {
		t.Logf("after %v:\n%s", took, out)
	}
	shell(t, "systemctl kill -s KILL lab-hold.service")
	dpkg(t, "--remove netwatch")
	shell(t, "! grep -rs 'netwatch hook' /etc/openvpn")
}
