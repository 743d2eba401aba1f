//go:build lab

package lab

import (
	"strings"
	"testing"
)

// The sources are asked before started is emitted, so that its rules act on what
// is true now.
func TestStartedComesAfterALook(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	history := shell(t, "netwatch history")
	found, started := strings.Index(history, "ip-changed from stun"), strings.Index(history, "started from netwatch")
	if found < 0 || started < found {
		t.Errorf("history:\n%s", history)
	}
}

// systemctl reload fails on a file with mistakes, and what is in force stays.
func TestReloadRefusesMistakes(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", "[source.stun]\nagree = 9\n", 0o644))
	if out := shell(t, "systemctl reload netwatch.service 2>&1; echo code $?"); strings.Contains(out, "code 0") {
		t.Errorf("systemctl reload:\n%s", out)
	}
	if out := shell(t, "netwatch fire ip-changed"); !strings.Contains(out, "restart "+YunoHost.Unit+": skipped") {
		t.Errorf("afterwards:\n%s", out)
	}
}
