//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// verifying starts netwatch, which knows the addresses of these families and
// has a rule that does nothing but to verify a coturn when it is fired.
func verifying(t *testing.T, c Coturn, families string) {
	t.Helper()
	config := sourceStun("1h", true) + fmt.Sprintf("families = [%s]\n", families) +
		fmt.Sprintf("\n[[rule]]\non = [\"verify\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"verify turn %s\"]\n", c.File)
	watching(t, config, FirstPublic)
}

// verify fires the rule, and wants an exit code and texts in what it prints.
func verify(t *testing.T, code int, want ...string) {
	t.Helper()
	out, got := fire(t, "verify")
	if got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	if strings.Contains(out, Secret) || strings.Contains(out, "p4ssword") {
		t.Errorf("it tells a secret:\n%s", out)
	}
}

// writeCoturn writes coturn's file and leaves the coturn that runs alone.
func writeCoturn(t *testing.T, c Coturn, conf string) {
	t.Helper()
	must(t, server.WriteFile(c.File, conf, 0o640))
}

// restartCoturn restarts coturn with another file.
func restartCoturn(t *testing.T, c Coturn, conf string) {
	t.Helper()
	writeCoturn(t, c, conf)
	shell(t, "systemctl restart "+c.Unit)
}

// wellKnown is what a good step says of the lab's IPv4 address.
const wellKnown = "unchanged: ipv4 203.0.113.10 ("

func TestVerify(t *testing.T) {
	for _, c := range []Coturn{YunoHost, Debian} {
		t.Run(c.Unit, func(t *testing.T) {
			fresh(t, c)
			unlimited(t, c.Unit)
			verifying(t, c, `"ipv4"`)
			verify(t, 0, wellKnown)
			restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2"))
			verify(t, 0, wellKnown)
			restartCoturn(t, c, CoturnConf("203.0.113.99"))
			verify(t, 1, "192.168.50.2:3478 relays over 203.0.113.99, and the public address is 203.0.113.10", "hint: external-ip in "+c.File+" does not have it")
			writeCoturn(t, c, CoturnConf("203.0.113.10"))
			verify(t, 1, "relays over 203.0.113.99", "has the right external-ip, which coturn reads only when it starts: restart it")
			restartCoturn(t, c, CoturnConf(""))
			verify(t, 1, "relays over 0.0.0.0", "is empty")
			restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.77"))
			verify(t, 1, "relays over 192.168.50.2, and the public address is 203.0.113.10", "private=auto")
		})
	}
}

func TestVerifyCredentials(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4"`)
	right := CoturnConf("203.0.113.10")
	writeCoturn(t, c, strings.Replace(right, Secret, "another", 1))
	verify(t, 1, "it answered 401 Unauthorized to the credentials of "+c.File, "hint: it runs with others than are in the file now: restart it")
	restartCoturn(t, c, right+"\nstatic-auth-secret=another\n")
	verify(t, 0, wellKnown)
	writeCoturn(t, c, right+"\nstatic-auth-secret=another\nstatic-auth-secret=a third\n")
	verify(t, 1, "401")

	user := func(user string) string {
		return strings.Replace(right, "use-auth-secret\nstatic-auth-secret="+Secret, "lt-cred-mech\nuser="+user, 1)
	}
	for _, with := range []string{"alice:p4ssword", "alice:0x5b81d66831d33a7abcef8b8e7d3f4389"} {
		restartCoturn(t, c, user(with))
		verify(t, 0, wellKnown)
	}
	writeCoturn(t, c, user("alice:0x00000000000000000000000000000000"))
	verify(t, 1, "401")
	restartCoturn(t, c, strings.Replace(right, "static-auth-secret="+Secret, "rest-api-separator=_\nstatic-auth-secret="+Secret+"\nuser-quota=1\ntotal-quota=1", 1))
	verify(t, 0, wellKnown)
	// What it took is given back, though coturn counts it for a second more.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		if out, code := fire(t, "verify"); code != 0 {
			return errors.New(out)
		}
		return nil
	}))
}

// A coturn that cannot read its file, or has none of the credentials in it, lends
// relays to everyone; one that is down lends none.
func TestVerifyOpenOrDown(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4"`)
	shell(t, "setfacl -x u:turnserver "+c.File+" && systemctl restart "+c.Unit)
	verify(t, 1, "it lends relays to everyone who asks, without credentials", "hint: it may run without its configuration")
	restartCoturn(t, c, "external-ip=203.0.113.10\nno-cli\n")
	verify(t, 1, "it lends relays to everyone")
	shell(t, "systemctl stop "+c.Unit)
	verify(t, 1, "nobody answers at 192.168.50.2:3478 over UDP: connection refused", "hint: see whether its unit runs")
}

// Two families are right when each caller gets the address of his own; plain
// lines are not (facts of coturn 4.6.1).
func TestVerifyBothFamilies(t *testing.T) {
	c := Debian
	fresh(t, c)
	unlimited(t, c.Unit)
	verifying(t, c, `"ipv4", "ipv6"`)
	restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2", "2001:db8:50::2/2001:db8:50::2"))
	verify(t, 0, "unchanged: ipv4 203.0.113.10, ipv6 2001:db8:50::2 (")
	restartCoturn(t, c, CoturnConf("203.0.113.10", "2001:db8:50::2"))
	verify(t, 1, "verifying ipv6 of coturn", "relays over 203.0.113.10, and the public address is 2001:db8:50::2")
	restartCoturn(t, c, CoturnConf("203.0.113.10")+"\nlistening-ip=192.168.50.2\n")
	verify(t, 0, "unchanged: ipv4 203.0.113.10, no ipv6 relay (")
}

// The step comes right after the restart, and is one of the rule.
func TestVerifyAfterRestart(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	config := strings.TrimSuffix(configuration(c, "1h"), "]\n") + fmt.Sprintf(", \"verify turn %s\"]\n", c.File)
	watching(t, config, FirstPublic)
	for i := range 3 {
		to := Public(60 + i)
		must(t, world.SetPublic(t.Context(), to))
		out, code := fire(t, "ip-changed")
		if code != 0 || !strings.Contains(out, "verify turn "+c.File+": unchanged: ipv4 "+to.String()) {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		t.Logf("%s", out)
	}
}
