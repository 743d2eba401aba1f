//go:build lab

package lab

import (
	"strings"
	"testing"
	"time"
)

// What netwatch believed before it was stopped may be wrong by now: as long as
// no server confirms it, it is not written, and a file that somebody else has
// put right stays.
func TestOldAddressIsNotWritten(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	shell(t, "systemctl stop netwatch.service")
	to := Public(60)
	must(t, world.SetPublic(t.Context(), to))
	shell(t, "sed -i 's/^external-ip=.*/external-ip="+to.String()+"/' "+YunoHost.File+
		" && setfacl -m user:turnserver:r "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	for _, s := range stuns {
		must(t, s.Stop())
	}
	invocation := show(t, YunoHost.Unit, "InvocationID")

	shell(t, "systemctl start netwatch.service")
	wait(t, 3*every)
	if text := shell(t, "cat "+YunoHost.File); !strings.Contains(text, "external-ip="+to.String()) {
		t.Errorf("coturn.conf is:\n%s", text)
	}
	for _, s := range stuns {
		must(t, s.Start(t.Context()))
	}
	idle(t, to)
	right(t, to, to, 5*time.Second)
	if got := show(t, YunoHost.Unit, "InvocationID"); got != invocation {
		t.Error("coturn was restarted")
	}
}
