//go:build lab

package lab

import (
	"fmt"
	"strings"
	"testing"
)

// verifying starts netwatch with rules for events of their own: one verifies a
// coturn, with what it knows of families.
func verifying(t *testing.T, c Coturn, families string) {
	t.Helper()
	config := sourceStun("1h", true) + fmt.Sprintf("families = [%s]\n\n[[rule]]\non = [\"started\"]\ndo = [\"probe\"]\n", families) +
		fmt.Sprintf("\n[[rule]]\non = [\"verify\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"verify turn %s\"]\n", c.File)
	know := FirstPublic
	if families == `"ipv6"` {
		know = Public6
	}
	watching(t, config, know)
}

// verify is what the step says, which must have ended as wanted.
func verify(t *testing.T, code int, want ...string) {
	t.Helper()
	out, got := fire(t, "verify")
	t.Log(out)
	if got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	if strings.Contains(out, Secret) {
		t.Errorf("it tells the secret:\n%s", out)
	}
}

// coturnWith rewrites coturn's file and restarts it.
func coturnWith(t *testing.T, c Coturn, conf string) {
	t.Helper()
	must(t, server.WriteFile(c.File, conf, 0o640))
	shell(t, "systemctl reset-failed "+c.Unit+"; systemctl restart "+c.Unit)
}

const both = `"ipv4", "ipv6"`

func TestVerify(t *testing.T) {
	for _, c := range []Coturn{YunoHost, Debian} {
		t.Run(c.Unit, func(t *testing.T) {
			fresh(t, c)
			unlimited(t, c.Unit)
			verifying(t, c, `"ipv4"`)
			verify(t, 0, "unchanged: ipv4 203.0.113.10 (")
			coturnWith(t, c, CoturnConf("203.0.113.10/192.168.50.2"))
			verify(t, 0, "unchanged: ipv4 203.0.113.10 (")
			coturnWith(t, c, CoturnConf("203.0.113.99"))
			verify(t, 1, "X")
			coturnWith(t, c, CoturnConf(""))
			verify(t, 1, "X")
			coturnWith(t, c, CoturnConf("203.0.113.10/192.168.50.77"))
			verify(t, 1, "X")
			coturnWith(t, c, CoturnConf("203.0.113.10")+"\nlistening-ip=127.0.0.1\n")
			verify(t, 1, "X")
		})
	}
}
