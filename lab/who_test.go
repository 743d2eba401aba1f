//go:build lab

package lab

import (
	"strings"
	"testing"
)

// Who may fire is decided by the kernel's word on who connects: root and the
// group netwatch may, anybody else may only look.
func TestWhoMayFire(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	shell(t, "getent group netwatch || groupadd netwatch; id alice 2>/dev/null || useradd alice; usermod -aG netwatch alice")
	for user, may := range map[string]bool{"root": true, "alice": true, "nobody": false} {
		out := shell(t, "runuser -u "+user+" -- netwatch fire ip-changed 2>&1; echo code $?")
		if strings.Contains(out, "code 0") != may || strings.Contains(out, "code 4") == may {
			t.Errorf("%s:\n%s", user, out)
		}
		if !may && !strings.Contains(out, "netwatch: firing ip-changed: user nobody may not fire ip-changed\nhint: ") {
			t.Errorf("%s is told:\n%s", user, out)
		}
		if out := shell(t, "runuser -u "+user+" -- netwatch history 2>&1; echo code $?"); strings.Contains(out, "code 0") != may {
			t.Errorf("%s reads the history:\n%s", user, out)
		}
		if out := shell(t, "runuser -u "+user+" -- netwatch status"); !strings.Contains(out, FirstPublic.String()) {
			t.Errorf("%s sees:\n%s", user, out)
		}
	}
}
