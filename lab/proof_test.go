//go:build lab

// 5. Done means working: the proof asks as callers do, and changes nothing for them.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tlsOnly is coturn as YunoHost's app has it by default, given realm, secret, address
// and port: there is no plain listener at all.
const tlsOnly = `use-auth-secret
static-auth-secret=%[2]s
realm=%[1]s
tls-listening-port=%[4]d
alt-tls-listening-port=%[5]d
min-port=49153
max-port=49193
cli-port=%[6]d
cert=/etc/yunohost/certs/%[1]s/crt.pem
pkey=/etc/yunohost/certs/%[1]s/key.pem
no-udp
no-tcp
no-sslv2
no-sslv3
no-tlsv1
no-tlsv1_1
simple-log
log-file=stdout
user-quota=12 # a comment stands behind the value
total-quota=1200
no-multicast-peers
no-cli
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
max-allocate-lifetime=43200
external-ip=%[3]s`

// The two coturns of a YunoHost with the app twice.
var (
	firstTLS  = Coturn{File: "/etc/matrix-synapse/coturn.conf", Unit: "synapse-coturn.service"}
	secondTLS = Coturn{File: "/etc/matrix-synapse__2/coturn.conf", Unit: "synapse__2-coturn.service"}
)

// tlsAlone is the file of one of them.
func tlsAlone(realm string, external netip.Addr, port int) string {
	return fmt.Sprintf(tlsOnly, realm, Secret, external, port, port+1, port+2)
}

// beside starts Debian's own coturn with the file that its package brings: an open relay
// on 3478.
func beside(t *testing.T) {
	t.Helper()
	shell(t, "systemctl stop "+YunoHost.Unit+"; printf 'syslog\\n' > "+Debian.File+"; chmod 644 "+Debian.File+
		"; systemctl daemon-reload; systemctl start "+Debian.Unit)
	undo(t, "systemctl stop "+Debian.Unit)
}

// twice starts the coturns of two instances that listen for TLS alone.
func twice(t *testing.T, external netip.Addr) {
	t.Helper()
	undo(t, "rm -rf /etc/systemd/system/"+secondTLS.Unit+" "+filepath.Dir(secondTLS.File)+" && systemctl daemon-reload")
	for i, c := range []Coturn{firstTLS, secondTLS} {
		realm := []string{"matrix.example.org", "matrix.example.com"}[i]
		dir := "/etc/yunohost/certs/" + realm
		undo(t, "rm -rf "+dir)
		shell(t, "mkdir -p "+dir+" && cd "+dir+
			" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "+
			"-subj /CN="+realm+" -keyout key.pem -out crt.pem 2>/dev/null && chown turnserver key.pem")
		must(t, server.writeCoturn(t.Context(), c, tlsAlone(realm, external, []int{5349, 5359}[i])))
		shell(t, "systemctl daemon-reload; systemctl reset-failed "+c.Unit+" 2>/dev/null; systemctl restart "+c.Unit)
		undo(t, "systemctl stop "+c.Unit)
		unlimited(t, c.Unit)
	}
}

// ruleVerify is a rule that verifies a file when it is fired, after what else it does.
func ruleVerify(event string, steps ...string) string {
	return fmt.Sprintf("\n[[rule]]\nname = %[1]q\non = [%[1]q]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"%[2]s\"]\n",
		event, strings.Join(steps, `", "`))
}

// fires fires an event and wants an exit code and texts in what is printed.
func fires(t *testing.T, event string, code int, want ...string) {
	t.Helper()
	out, got := fire(t, event)
	if got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
}

// On a YunoHost as it is installed by default callers come over TLS, and at 3478 is
// Debian's coturn, which is nobody's. Two instances are told apart.
func TestVerifyOverTLS(t *testing.T) {
	fresh(t, YunoHost)
	beside(t)
	twice(t, FirstPublic)
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n" +
		ruleVerify("first", "verify turn "+firstTLS.File) + ruleVerify("second", "verify coturn "+secondTLS.File)
	watching(t, config, FirstPublic)
	for _, event := range []string{"first", "second"} {
		fires(t, event, 0, "unchanged: ipv4 203.0.113.10 (tls) (")
	}
	restartCoturn(t, firstTLS, tlsAlone("matrix.example.org", Public(1), 5349))
	fires(t, "first", 1, "192.168.50.2:5349 (tls) relays over "+Public(1).String()+
		", and the public address is 203.0.113.10")
	fires(t, "second", 0, "unchanged: ipv4 203.0.113.10 (tls) (")

	// The file names the other's port, or Debian's, and its own server is asked nowhere.
	writeCoturn(t, secondTLS, tlsAlone("matrix.example.com", FirstPublic, 5349))
	fires(t, "second", 1, `another server answers there, of realm "matrix.example.org", and not the one of `+
		secondTLS.File,
		"ss -lpn sport = :5349")
	plain := strings.NewReplacer("no-udp\n", "", "no-tcp\n", "").Replace(tlsAlone("matrix.example.com", FirstPublic, 5359))
	writeCoturn(t, secondTLS, plain)
	fires(t, "second", 0, "unchanged: ipv4 203.0.113.10 (tls), asking 192.168.50.2:3478 (udp): "+
		"it lends relays to everyone",
		"another server answers there, and not the one of "+secondTLS.File)

	// Without a certificate that it can read it listens nowhere, and starts all the same.
	shell(t, "chown root /etc/yunohost/certs/matrix.example.com/key.pem; "+
		"chmod 600 /etc/yunohost/certs/matrix.example.com/key.pem")
	restartCoturn(t, secondTLS, tlsAlone("matrix.example.com", FirstPublic, 5359))
	fires(t, "second", 1, "nobody answers at 192.168.50.2:5359 (tls): connection refused",
		"cert and pkey in "+secondTLS.File)
}

// callers are 30 of them, and how many get what.
func callers(t *testing.T) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		a, err := caller.Allocate(ctx, netip.AddrPortFrom(FirstPublic, Port), 4)
		cancel()
		if err != nil {
			got[err.Error()]++
			continue
		}
		got[a.Relayed.Addr().String()]++
		_ = a.Close()
	}
	return got
}

// A coturn that is told to relay from any address turns a thread to IPv6 as soon as one
// caller asks it for that: the proof is none of those.
func TestVerifyHarmsNobody(t *testing.T) {
	c := Debian
	fresh(t, c)
	unlimited(t, c.Unit)
	config := sourceStun("1h", true) + "families = [\"ipv4\", \"ipv6\"]\n" +
		ruleVerify("plain", "verify turn "+c.File) + ruleVerify("both", "verify turn "+c.File+" families=ipv4,ipv6")
	watching(t, config, FirstPublic)
	for _, line := range []string{"listening-ip=0.0.0.0", "relay-ip=0.0.0.0", "relay-ip=::"} {
		restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2")+"\n"+line+"\n")
		for _, event := range []string{"plain", "both"} {
			fires(t, event, 0, "unchanged: ipv4 203.0.113.10 (udp, tcp)")
		}
		if got := callers(t); got["203.0.113.10"] != 30 {
			t.Errorf("%s: callers get %v", line, got)
		}
	}
	restartCoturn(t, c, CoturnConf("203.0.113.10/192.168.50.2", "2001:db8:50::2/2001:db8:50::2")+
		"\nlistening-ip=192.168.50.2\nlistening-ip=2001:db8:50::2\n")
	fires(t, "plain", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
	fires(t, "both", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp), ipv6 2001:db8:50::2 (udp) (")
	if got := callers(t); got["203.0.113.10"] != 30 {
		t.Errorf("callers get %v", got)
	}
}

// An IPv6 prefix that is deprecated is still on the interface, and half of coturn's
// relays would be bound to it; or there is nothing left but a link-local address.
func TestVerifyIsNotFooled(t *testing.T) {
	c := Debian
	fresh(t, c)
	unlimited(t, c.Unit)
	config := sourceStun("1h", true) + "families = [\"ipv4\", \"ipv6\"]\n" +
		ruleVerify("plain", "verify turn "+c.File) + ruleVerify("both", "verify turn "+c.File+" families=ipv4,ipv6")
	watching(t, config, FirstPublic)
	must(t, ip(t.Context(), world.Net, "addr add 2001:db8:51::2/64 dev eth0 nodad preferred_lft 0\n"))
	t.Cleanup(func() {
		_ = ip(context.Background(), world.Net, "addr del 2001:db8:51::2/64 dev eth0\n") // It may have gone
		must(t, ip(context.Background(), world.Net, "addr replace 2001:db8:50::2/64 dev eth0 nodad\n"+
			"route replace default via 2001:db8:50::1\n"))
	})
	pairs := CoturnConf("203.0.113.10/192.168.50.2", "2001:db8:50::2/2001:db8:50::2")
	restartCoturn(t, c, pairs)
	for range 6 {
		fires(t, "plain", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
	}
	restartCoturn(t, c, pairs+"\nlistening-ip=192.168.50.2\nrelay-ip=192.168.50.2\nrelay-ip=2001:db8:50::2\n"+
		"relay-ip=2001:db8:51::2\n")
	for range 2 {
		fires(t, "plain", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
		fires(t, "both", 1, "relays over 2001:db8:51::2, and the public address is 2001:db8:50::2")
	}
	must(t, ip(t.Context(), world.Net, "addr del 2001:db8:50::2/64 dev eth0\naddr del 2001:db8:51::2/64 dev eth0\n"))
	restartCoturn(t, c, CoturnConf("203.0.113.10"))
	fires(t, "plain", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp) (")
	fires(t, "both", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp), no ipv6 relay")
}

// reviving is a rule that would restart coturn if it changed the file.
func reviving(c Coturn) string {
	return ruleVerify("look", "rotate coturn "+c.File, "restart "+c.Unit, "verify turn "+c.File)
}

// A coturn that was started too often at boot is dead although its file is right, and is
// started once. One that somebody stopped stays so, and what starts but cannot live is
// not started again and again.
func TestDeadIsStarted(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	watching(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+reviving(c), FirstPublic)
	shell(t, "for i in 1 2 3 4 5 6 7 8; do systemctl kill -s KILL "+c.Unit+"; systemctl restart "+c.Unit+"; done; true")
	says(t, "systemctl show -p ActiveState "+c.Unit+"; journalctl -b -u "+c.Unit, "ActiveState=failed",
		"repeated too quickly")
	fires(t, "look", 0, "rotate coturn "+c.File+": unchanged", "restart "+c.Unit+": skipped",
		" is failed (failed), result ",
		"restart "+c.Unit+": changed", "verify turn "+c.File+": unchanged: ipv4 203.0.113.10")
	right(t, FirstPublic, FirstPublic, 5*time.Second)

	shell(t, "systemctl stop "+c.Unit)
	fires(t, "look", 1, "somebody has stopped "+c.Unit+", and so it stays", "systemctl start "+c.Unit)
	if state := show(t, c.Unit, "ActiveState"); state != "inactive" {
		t.Errorf("it is %s", state)
	}
}

// What begins and dies is tried once, whatever else happens, until its file is another.
func TestDeadStaysDead(t *testing.T) {
	c := YunoHost
	fresh(t, c)
	unlimited(t, c.Unit)
	watching(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+reviving(c), FirstPublic)
	dir := "/etc/systemd/system/" + c.Unit + ".d"
	must(t, server.WriteFile(dir+"/deaf.conf",
		"[Service]\nType=simple\nExecStart=\nExecStart=/bin/sh -c 'echo begun; exec sleep infinity' turnserver -c "+
			c.File+"\n", 0o644))
	shell(t, "systemctl daemon-reload; systemctl restart "+c.Unit)
	begun := func() string { return shell(t, "journalctl -b -o cat -u "+c.Unit+" | grep -cx begun") }
	fires(t, "look", 1, "connection refused", "it was started because of that already")
	if got := begun(); got != "2" {
		t.Errorf("it was started %s times", got)
	}
	for range 2 {
		fires(t, "look", 1, "connection refused")
	}
	if got := begun(); got != "2" {
		t.Errorf("it was started %s times", got)
	}
	shell(t, "rm "+dir+"/deaf.conf; systemctl daemon-reload")
	fires(t, "look", 0, "verify turn "+c.File+": unchanged")
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// A coturn that is being stopped lends relays as it did, for up to 6 s: a proof that
// meets it waits for the next one.
func TestVerifyWhileItStops(t *testing.T) {
	leave, err := moveIn(t.Context(), Sid)
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	c := Debian
	fresh(t, c)
	unlimited(t, c.Unit)
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n" +
		ruleVerify("look", "rotate coturn "+c.File, "restart "+c.Unit, "verify turn "+c.File)
	watching(t, config, FirstPublic)
	for i := range 3 {
		restartCoturn(t, c, CoturnConf(Public(i).String()))
		writeCoturn(t, c, CoturnConf("203.0.113.10"))
		shell(t, "systemctl restart --no-block "+c.Unit)
		began := time.Now()
		fires(t, "look", 0, "restart "+c.Unit+": skipped", "verify turn "+c.File+": unchanged: ipv4 203.0.113.10")
		t.Logf("proven %v after the restart was asked for", time.Since(began).Round(10*time.Millisecond))
	}
}
