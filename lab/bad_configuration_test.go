//go:build lab

// 9. A bad configuration never stops a running daemon.

package lab

import (
	"strings"
	"testing"
)

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

// An upgrade with mistakes in the configuration leaves the old daemon at work.
func TestUpgradeWithMistakes(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	packages := handOver(t, "1.0", "2.0")
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h"), 0o644))
	dpkg(t, "--force-confold -i "+packages[0])
	idle(t, FirstPublic)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", "[source.stun]\nserver = []\n", 0o644))
	before := incarnation(t, "netwatch.service")
	if out := dpkg(t, "-i "+packages[1]); !strings.Contains(out, "/etc/netwatch/netwatch.toml:2:1: source.stun.server: ") {
		t.Error("it does not say what is wrong")
	}
	if after := incarnation(t, "netwatch.service"); after != before {
		t.Errorf("the daemon was %s and is %s", before, after)
	}
}
