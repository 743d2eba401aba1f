//go:build lab

// 5. Done means working: where a proof asks, and which certificate it wants.

package lab

import (
	"testing"
	"time"
)

// A private part that is kept because this machine has it may be a tunnel's, by which no
// caller comes: the proof asks where the public address was asked from, finds what
// callers get, and private=auto mends it.
func TestProofGoesTheWayOfThePoll(t *testing.T) {
	fresh(t, YunoHost)
	tunnel(t, Public(160))
	unlimited(t, YunoHost.Unit)
	restartCoturn(t, YunoHost, CoturnConf(pair(FirstPublic, inVPN)))
	prove := "verify turn " + YunoHost.File
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n" +
		ruleVerify("look", "rotate coturn "+YunoHost.File, prove) +
		ruleVerify("mend", "rotate coturn "+YunoHost.File+" private=auto", "restart "+YunoHost.Unit, prove)
	watching(t, config, FirstPublic)
	fires(t, "look", 1, "rotate coturn "+YunoHost.File+": unchanged: 203.0.113.10",
		"192.168.50.2:3478 (udp) relays over 192.168.50.2, and the public address is 203.0.113.10", "private=auto")
	fires(t, "mend", 0, "203.0.113.10, in other lines", prove+": unchanged: ipv4 203.0.113.10 (udp, tcp)")
	if got := shell(t, "grep external-ip "+YunoHost.File); got != "external-ip="+pair(FirstPublic, Private) {
		t.Errorf("in the file stands %s", got)
	}
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// The certificate that a real coturn serves is the one that it should, or the step fails
// and says so.
func TestVerifyServedCertificate(t *testing.T) {
	fresh(t, YunoHost)
	shell(t, "systemctl stop "+YunoHost.Unit+"; cp /etc/hosts /root/hosts; "+
		"sed -i '1i 192.168.50.2 "+firstDomain+"' /etc/hosts")
	undo(t, "cp /root/hosts /etc/hosts; rm -rf "+certificates(firstDomain)+"*")
	_, err := server.Renew(firstDomain)
	must(t, err)
	conf := tlsAlone(firstDomain, FirstPublic, 5349)
	restartCoturn(t, firstTLS, conf)
	const place = firstDomain + ":5349"
	file := certificates(firstDomain) + "/crt.pem"
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n[source.cert]\nfiles = [\"" + file + "\"]\n" +
		ruleVerify("cert-renewed", "verify tls "+place) +
		ruleVerify("with", "verify tls "+place+" "+file) + ruleVerify("without", "verify tls "+place) +
		ruleVerify("address", "verify tls 192.168.50.2:5349") +
		ruleVerify("address-with", "verify tls 192.168.50.2:5349 "+file) +
		ruleVerify("mend", "signal USR2 "+firstTLS.Unit, "verify tls "+place+" "+file)
	watching(t, config, FirstPublic)
	for _, event := range []string{"with", "without", "address-with"} {
		fires(t, event, 0, ": unchanged: ", " serves it, good until ")
	}
	fires(t, "address", 1, "cannot validate certificate for 192.168.50.2", "hint: name the host as the certificate does")

	// coturn goes on with the one before: whoever knows the new one sees that.
	before := incarnation(t, firstTLS.Unit)
	leaf, err := server.Renew(firstDomain)
	must(t, err)
	says(t, "netwatch history", "verify tls "+place+": failed: verifying the certificate of "+place+
		": it serves another one, of "+firstDomain)
	fires(t, "with", 1, "it serves another one", "`signal USR2` for coturn")
	fires(t, "without", 0, "serves it")
	fires(t, "mend", 0, "verify tls "+place+" "+file+": unchanged: ")
	serves(t, at(5349), leaf)
	if now := incarnation(t, firstTLS.Unit); now != before {
		t.Errorf("coturn was restarted: %s, was %s", now, before)
	}
	shell(t, "systemctl stop "+firstTLS.Unit)
	fires(t, "with", 1, "nobody serves one there", "connection refused")
}

// firstDomain is that of the first coturn's certificate.
const firstDomain = "matrix.example.org"
