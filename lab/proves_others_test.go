//go:build lab

// Callers of ejabberd get the wrong relayed address, or none, and verify says so.

package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// proven is ejabberd with every transport that it has, and the secret that it makes
// credentials with.
var proven = strings.Replace(ejabberdConf, "listen:\n", `certfiles: [/etc/ejabberd/lab.pem]
modules:
  mod_disco: {}
  mod_stun_disco:
    secret: `+Secret+`
listen:
`, 1) + `  -
    port: 3478
    ip: "::"
    module: ejabberd_stun
    use_turn: true
    turn_ipv4_address: "203.0.113.10"
  -
    port: 5349
    transport: tcp
    tls: true
    module: ejabberd_stun
    use_turn: true
    turn_ipv4_address: "203.0.113.10"
`

const (
	ejabberdFile, ejabberdUnit = "/etc/ejabberd/ejabberd.yml", "ejabberd.service"
	// makePEM is a certificate and its key in one file.
	makePEM = "cd /etc/ejabberd && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=matrix.example.org " +
		"-keyout k -out c 2>/dev/null && cat c k > lab.pem && chown ejabberd: lab.pem"
)

// writes puts a text into ejabberd's file, whose owner it keeps.
func writes(t *testing.T, text string) {
	t.Helper()
	must(t, server.WriteFile(ejabberdFile, text, 0o640))
	shell(t, "chown ejabberd:ejabberd "+ejabberdFile)
}

// TestEjabberdProven holds that verify asks ejabberd as its callers do, and what it says
// when they are not right.
func TestEjabberdProven(t *testing.T) {
	others(t, "ejabberd", "openssl")
	writes(t, proven)
	shell(t, makePEM+" && systemd-tmpfiles --create && systemctl daemon-reload && systemctl start "+ejabberdUnit)
	shell(t, "timeout 30 ejabberdctl started")
	look := fmt.Sprintf("\n[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"verify ejabberd %s\"]\n", ejabberdFile)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+look)
	idle(t, FirstPublic)
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp, tls)")
	other := strings.Replace(proven, "203.0.113.10", "203.0.113.99", 1) // Its TCP may not survive a reload
	writes(t, other)
	shell(t, "systemctl reload "+ejabberdUnit)
	fires(t, "look", 1, "192.168.50.2:3478 (udp) relays over 203.0.113.99, and the public address is 203.0.113.10",
		"turn_ipv4_address in "+ejabberdFile+" does not have it: have a step `rotate ejabberd "+ejabberdFile+"`")
	writes(t, proven)
	fires(t, "look", 1, "relays over 203.0.113.99", "has the right turn_ipv4_address", "reload it")
	shell(t, "systemctl reload "+ejabberdUnit)
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp, tls)")
	writes(t, strings.Replace(proven, Secret, "another", 1))
	fires(t, "look", 1, "401 Unauthorized to the credentials of "+ejabberdFile, "reload it")
	writes(t, strings.Replace(proven, "    secret: "+Secret+"\n", "", 1))
	fires(t, "look", 1, "mod_stun_disco has no secret in it", "write secret: ")
	shell(t, "systemctl stop "+ejabberdUnit)
	writes(t, proven)
	fires(t, "look", 1, "nobody answers at 192.168.50.2:3478 (udp): connection refused", "systemctl status")
}

// listening are the ports that ejabberd accepts connections of callers at.
func listening(t *testing.T) string {
	t.Helper()
	return shell(t, "ss -Hltn 'sport = 3478 or sport = 5349' | wc -l")
}

// TestEjabberdReopened holds that callers over TCP and TLS get relays after a change though
// a reload of ejabberd closes the ports whose addresses have changed, and about one time in
// three is too quick to open them again: its log says "address already in use". A second
// reload opens them.
func TestEjabberdReopened(t *testing.T) {
	others(t, "ejabberd", "openssl")
	writes(t, proven)
	shell(t, makePEM+" && systemd-tmpfiles --create && systemctl daemon-reload && systemctl start "+ejabberdUnit)
	shell(t, "timeout 30 ejabberdctl started")
	rule := fmt.Sprintf("do = [\"rotate ejabberd %s\", \"reload-or-restart %s\", \"verify ejabberd %[1]s\"]\n",
		ejabberdFile, ejabberdUnit)
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n\n[[rule]]\n"+
		"on = [\"started\", \"ip-changed\"]\n"+rule, FirstPublic)
	was := show(t, ejabberdUnit, "MainPID")
	const lost = "address already in use"
	for i := 0; i < 20 && (i < 4 || !strings.Contains(shell(t, "journalctl -b -o cat -u "+ejabberdUnit), lost)); i++ {
		must(t, world.SetPublic(t.Context(), Public(10+i)))
		idle(t, Public(10+i))
		if is := listening(t); is != "2" {
			t.Fatalf("it listens at %s of 2 ports", is)
		}
	}
	log := shell(t, "journalctl -b -o cat -u "+ejabberdUnit)
	t.Logf("%d ports were lost", strings.Count(log, lost))
	if !strings.Contains(log, lost) {
		t.Error("no reload has lost a port: this has shown nothing")
	}
	if is := show(t, ejabberdUnit, "MainPID"); is != was {
		t.Errorf("its process was %s and is %s", was, is)
	}
}

// TestEjabberdDead holds that an ejabberd which is found dead is started once more.
func TestEjabberdDead(t *testing.T) {
	others(t, "ejabberd", "openssl")
	writes(t, proven)
	shell(t, makePEM+" && systemd-tmpfiles --create && systemctl daemon-reload && systemctl start "+ejabberdUnit)
	unlimited(t, ejabberdUnit)
	rule := fmt.Sprintf("\n[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"rotate ejabberd %s\", "+
		"\"reload-or-restart %s\", \"verify ejabberd %[1]s\"]\n", ejabberdFile, ejabberdUnit)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+rule)
	idle(t, FirstPublic)
	shell(t, "timeout 30 ejabberdctl started")
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp, tls)")
	all, _ := doctor(t)
	if !slices.ContainsFunc(all, func(f finding) bool {
		return f.What == "relays by "+ejabberdFile && f.Level == "ok" &&
			strings.Contains(f.Found, "203.0.113.10 (udp, tcp, tls)")
	}) {
		t.Errorf("doctor does not ask it: %+v", all)
	}
	was := incarnation(t, ejabberdUnit)
	shell(t, "mkdir -p /run/systemd/system/"+ejabberdUnit+".d && printf '[Service]\\nRestart=no\\n' > "+
		"/run/systemd/system/"+ejabberdUnit+".d/lab.conf && systemctl daemon-reload && "+
		"systemctl kill -s KILL "+ejabberdUnit)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, pause, func() error {
		if is := show(t, ejabberdUnit, "ActiveState"); is != "failed" {
			return fmt.Errorf("it is %s", is)
		}
		return nil
	}))
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (udp, tcp, tls)")
	if is := incarnation(t, ejabberdUnit); is == was {
		t.Error("it was not started")
	}
	if log := shell(t, "netwatch history --json"); !strings.Contains(log, string(netwatch.Changed)) {
		t.Errorf("nothing was changed:\n%.3000s", log)
	}
}
