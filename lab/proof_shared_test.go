//go:build lab

// 5. Done means working: two coturns that share a port.

package lab

import (
	"fmt"
	"strings"
	"testing"
)

// Two coturns of one user share a port without a word, and half of the callers reach the
// other one. A proof fails wherever nothing else is the server's own.
func TestVerifySharedPort(t *testing.T) {
	fresh(t, YunoHost)
	other := strings.NewReplacer(Secret, "another", "matrix.example.org", "other.example.org").Replace(
		CoturnConf(FirstPublic.String()))
	must(t, server.writeCoturn(t.Context(), Debian, other))
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n" + ruleVerify("look", "verify turn "+YunoHost.File)
	watching(t, config, FirstPublic)
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
	shell(t, "systemctl start "+Debian.Unit)
	undo(t, "systemctl stop "+Debian.Unit)
	right := 0
	for got, n := range callers(t) {
		if got == FirstPublic.String() {
			right += n
		}
	}
	t.Logf("%d of 30 callers are right", right)
	if right == 0 || right == 30 {
		t.Error("the two do not share the port")
	}
	for range 5 {
		fires(t, "look", 1, "two servers share a port, and callers reach one by chance: asking 192.168.50.2:3478",
			"of realm \"other.example.org\"", "hint: ss -lpn sport = :3478 shows")
	}
	shell(t, fmt.Sprintf("systemctl stop %s; sed -i 's/^listening-port=.*/listening-port=3480/' %s; systemctl start %[1]s",
		Debian.Unit, Debian.File))
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
}
