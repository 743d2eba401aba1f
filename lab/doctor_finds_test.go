//go:build lab

// What doctor finds on a machine as it stands, each with the remedy that it names, which
// is carried out.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// among wants a finding, with its remedy, whatever else is found.
func among(t *testing.T, want finding) finding {
	t.Helper()
	all, code := doctor(t)
	problem := slices.ContainsFunc(all, func(f finding) bool { return f.Level == "problem" })
	if (code == 1) != problem || code > 1 {
		t.Errorf("exit code %d with %+v", code, all)
	}
	i := slices.IndexFunc(all, func(f finding) bool { return f.is(want) })
	if i < 0 {
		t.Fatalf("no %+v, but %+v", want, all)
	}
	return all[i]
}

// notAmong wants no such finding any more, of whatever level.
func notAmong(t *testing.T, what finding) {
	t.Helper()
	all, _ := doctor(t)
	for _, f := range all {
		if f.What == what.What && strings.Contains(f.Found, what.Found) {
			t.Errorf("still: %+v", f)
		}
	}
}

// remedy is the command that a remedy ends or begins with.
func remedy(t *testing.T, hint, begins string) string {
	t.Helper()
	i := strings.Index(hint, begins)
	if i < 0 {
		t.Fatalf("no %s in %q", begins, hint)
	}
	words, _, _ := strings.Cut(hint[i:], " has it")
	words, _, _ = strings.Cut(words, ";")
	return words
}

// appendTo adds lines to the file of a coturn, whose last line has no end.
func appendTo(t *testing.T, c Coturn, lines string) {
	t.Helper()
	shell(t, "cp -a "+c.File+" /run/kept; printf '\\n"+lines+"\\n' >>"+c.File)
}

// readsAgain is a rule by which a coturn reads a renewed certificate.
func readsAgain(unit string) string {
	return "\n[[rule]]\non = [\"cert-renewed\"]\ndo = [\"reload-or-restart " + unit + "\"]\n"
}

// configured puts another configuration in force.
func configured(t *testing.T, text string) {
	t.Helper()
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", text, 0o644))
	shell(t, "systemctl reload netwatch.service")
}

// A coturn that no rule covers: init shows what is missing, and writes it.
func TestDoctorFindsUncovered(t *testing.T) {
	allWell(t)
	configured(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+ruleVerify("prove", "verify turn "+YunoHost.File))
	finds(t, finding{"warning", YunoHost.File, YunoHost.Unit + " runs with it, and no rule rotates it", ""})
	shell(t, "sed -i s/^external-ip=.*/external-ip=203.0.113.99/ "+YunoHost.File)
	stale := among(t, finding{"problem", YunoHost.File, "no rule rotates it: external-ip is 203.0.113.99", ""})
	if out := shell(t, "netwatch init"); !strings.Contains(out, "+  \"rotate coturn "+YunoHost.File) {
		t.Error("init does not show the rule:", out)
	}
	shell(t, "netwatch init --force && sed -i 's/^servers .*/"+
		strings.Split(sourceStun("1h", false), "\n")[1]+"/' /etc/netwatch/netwatch.toml")
	shell(t, remedy(t, stale.Hint, "systemctl reload netwatch.service"))
	notAmong(t, stale)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// A certificate that was renewed is served once coturn has read it again.
func TestDoctorFindsOldCertificate(t *testing.T) {
	allWell(t)
	configured(t, configuration(YunoHost, "1h")+readsAgain(YunoHost.Unit)+
		"[source.cert]\nfiles = [\""+certificates(doctorDomain)+"/crt.pem\"]\n")
	shell(t, "sed -i '/^no-tls/d' "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	finds(t, finding{})
	shell(t, "systemctl stop netwatch.socket netwatch.service") // They would see to it.
	_, err := server.Renew(doctorDomain)
	must(t, err)
	f := among(t, finding{"problem", "certificate by " + YunoHost.File, "serves another one", ""})
	shell(t, remedy(t, f.Hint, "systemctl kill"))
	notAmong(t, f)
	shell(t, "systemctl start netwatch.service")
	idle(t, FirstPublic)
	finds(t, finding{})
}

// Nothing tells netwatch of a renewal, until the hook is in place.
func TestDoctorFindsNoHook(t *testing.T) {
	allWell(t)
	configured(t, configuration(YunoHost, "1h"))
	shell(t, "sed -i '/^no-tls/d' "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	crt := certificates(doctorDomain) + "/crt.pem"
	shell(t, "rm -f "+hooksDir+"/50-netwatch") // That of another test's init
	among(t, finding{"note", crt, "no rule waits for cert-renewed", ""})
	configured(t, configuration(YunoHost, "1h")+readsAgain(YunoHost.Unit))
	f := finding{"warning", crt, "no hook of yunohost tells netwatch", ""}
	finds(t, f)
	f = among(t, f)
	said := shell(t, strings.TrimSuffix(remedy(t, f.Hint, "netwatch init"), " puts the hook in place"))
	backup, _, _ := strings.Cut(said[strings.Index(said, "as it was: ")+len("as it was: "):], " ")
	undo(t, "netwatch init --restore "+backup)
	finds(t, finding{})
}

// An address that coturn is told to listen at, or to relay from, is gone.
func TestDoctorFindsAddressGone(t *testing.T) {
	for key, words := range map[string]string{
		"listening-ip": "coturn started with it listens nowhere", "relay-ip": "coturn lends no relay by it",
	} {
		t.Run(key, func(t *testing.T) {
			allWell(t)
			appendTo(t, YunoHost, key+"=192.168.50.99")
			shell(t, "timeout 5 systemctl restart "+YunoHost.Unit+" || :")
			f := among(t, finding{"problem", YunoHost.File, key + "=192.168.50.99 is no address of this machine: " + words, ""})
			if !strings.Contains(f.Hint, "write what it is now ("+Private.String()+")") {
				t.Error("the remedy:", f.Hint)
			}
			shell(t, "sed -i s/192.168.50.99/"+Private.String()+"/ "+YunoHost.File)
			shell(t, remedy(t, f.Hint, "systemctl restart"))
			right(t, FirstPublic, FirstPublic, 5*time.Second)
			finds(t, finding{})
		})
	}
}

// coturn heeds the first of two plain lines, for callers of both families. The step that is
// named mends it.
func TestDoctorFindsTwoPlainLines(t *testing.T) {
	allWell(t)
	source := sourceStun("1h", true) + "families = [\"ipv4\", \"ipv6\"]\n"
	configured(t, source+ruleCoturn(YunoHost.File, YunoHost.Unit))
	shell(t, "sed -i 's/^external-ip=.*/&\\nexternal-ip="+Public6.String()+"/' "+YunoHost.File+
		" && systemctl restart "+YunoHost.Unit)
	idle(t, FirstPublic)
	idle(t, Public6)
	finds(t, finding{})
	f := among(t, finding{"note", YunoHost.File, "coturn heeds that alone, and no line with " + Public6.String(), ""})
	step := strings.Split(f.Hint, "`")[1]
	if step != "rotate coturn "+YunoHost.File+" private=auto families=ipv4,ipv6" {
		t.Fatal("the step:", f.Hint)
	}
	six := func() (string, error) {
		a, err := caller.Allocate(t.Context(), netip.AddrPortFrom(Public6, Port), 6)
		if err != nil {
			return "", err
		}
		return a.Relayed.Addr().String(), a.Close()
	}
	if got, err := six(); got != FirstPublic.String() && *release == "" { // 4.18 does not translate IPv6 then
		t.Fatalf("callers for IPv6 get %s, %v before", got, err)
	}
	rule := strings.Replace(ruleCoturn(YunoHost.File, YunoHost.Unit), "rotate coturn "+YunoHost.File, step, 1)
	configured(t, source+rule)
	shell(t, "netwatch fire ip-changed")
	notAmong(t, f)
	finds(t, finding{})
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	if got, err := six(); got != Public6.String() {
		t.Errorf("callers for IPv6 get %s, %v", got, err)
	}
}

// Two coturns share a port until one of them has another.
func TestDoctorFindsSharedPort(t *testing.T) {
	fresh(t, YunoHost)
	twice(t, FirstPublic)
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n" + ruleCoturn(firstTLS.File, firstTLS.Unit) +
		ruleCoturn(secondTLS.File, secondTLS.Unit)
	watching(t, config, FirstPublic)
	restartCoturn(t, secondTLS, tlsAlone("matrix.example.com", FirstPublic, 5349))
	f := among(t, finding{"warning", "port 5349", "share it (tls)", ""})
	line, _, _ := strings.Cut(strings.TrimPrefix(f.Hint, "write "), " into ")
	if !strings.HasPrefix(line, "tls-listening-port=") {
		t.Fatal("the remedy:", f.Hint)
	}
	file := strings.Split(f.Hint, " ")[3]
	shell(t, "sed -i 's/^tls-listening-port=.*/"+line+"/' "+strings.TrimSuffix(file, ","))
	shell(t, remedy(t, f.Hint, "systemctl restart"))
	notAmong(t, f)
}

// The socket takes callers also while the daemon cannot start. What keeps it is said, and
// in time.
func TestDoctorFindsMistakeBehindSocket(t *testing.T) {
	allWell(t)
	text := configuration(YunoHost, "1h")
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", strings.Replace(text, "agree", "agrees", 1), 0o644))
	shell(t, "systemctl start netwatch.socket; systemctl restart netwatch.service 2>&1 || :")
	began := time.Now()
	f := among(t, finding{"problem", "daemon", "cannot start with the mistakes in the configuration", ""})
	if took := time.Since(began); took > 5*time.Second { // It waits for the daemon, but not long
		t.Errorf("it took %v", took)
	}
	if strings.Contains(f.Hint+f.Found, "hangs") {
		t.Errorf("it does not say the mistake: %+v", f)
	}
	among(t, finding{"problem", "configuration", "did you mean `agree`", ""})
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", text, 0o644))
	shell(t, "netwatch check && "+remedy(t, f.Hint, "systemctl restart"))
	idle(t, FirstPublic)
	finds(t, finding{})
}

// Two lines in turn: the address that is held is said, and all else is compared with it.
func TestDoctorFindsHeld(t *testing.T) {
	allWell(t)
	configured(t, configuration(YunoHost, "200ms"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; len(damped(t)) == 0; n++ {
		must(t, ctx.Err())
		must(t, world.SetPublic(ctx, []netip.Addr{Public(40), FirstPublic}[n%2]))
		wait(t, 2*time.Second)
	}
	held := damped(t)[0]
	must(t, world.SetPublic(ctx, held.Seen))
	words := fmt.Sprintf("%s is held while %s comes and goes", held.Held, held.Seen)
	f := among(t, finding{"warning", "address, ipv4", words, ""})
	notAmong(t, finding{"", YunoHost.File, "and the public address", ""})
	shell(t, "cp /run/hosts /etc/hosts && echo "+held.Seen.String()+" "+doctorDomain+" >>/etc/hosts")
	shell(t, remedy(t, f.Hint, "netwatch fire ip-changed")[:len("netwatch fire ip-changed")])
	notAmong(t, f)
	right(t, held.Seen, held.Seen, 5*time.Second)
}

// alone makes a lab of its own, of a network, with netwatch for Debian's coturn.
func alone(t *testing.T, network func(t *testing.T), families string, coturn func(t *testing.T)) {
	t.Helper()
	leave, err := moveIn(t.Context(), Release(*release))
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	entrance, entrance6 = FirstPublic, Public6
	network(t)
	coturn(t)
	begin(t, sourceStun("1s", true)+families+"\n"+ruleCoturn(Debian.File, Debian.Unit))
}

// quick wants nothing wrong, and that soon.
func quick(t *testing.T) {
	t.Helper()
	began := time.Now()
	all, code := doctor(t)
	took := time.Since(began)
	for _, f := range all {
		if f.Level == "warning" || f.Level == "problem" {
			t.Errorf("on a healthy machine: %+v", f)
		}
	}
	if code != 0 || took > 5*time.Second {
		t.Errorf("exit code %d after %v: %+v", code, took, all)
	}
	t.Logf("doctor took %v", took.Round(time.Millisecond))
}

// keepFamily gives a caller who names no family a relay of the one that he comes by.
const keepFamily = "\nallocation-default-address-family=keep\n"

// On a healthy machine nothing is wrong, whatever families it has and is asked for.
func TestDoctorHealthy(t *testing.T) {
	const four = "families = [\"ipv4\"]"
	for _, c := range []struct {
		name     string
		network  func(t *testing.T)
		families string
		coturn   func(t *testing.T)
		know     netip.Addr
	}{
		{"IPv4 alone", nat, four, debian(CoturnConf(FirstPublic.String())), FirstPublic},
		{"IPv4 alone, asked for both", nat, "", debian(CoturnConf(FirstPublic.String())), FirstPublic},
		{"IPv6 alone", ipv6Only, "families = [\"ipv6\"]", debian(CoturnConf() + keepFamily), Public6},
		{"IPv6 alone, asked for both", ipv6Only, "", debian(CoturnConf() + keepFamily), Public6},
		{"both", dualStack, "", debian(CoturnConf(pair(FirstPublic, Private), pair(Public6, Public6))), FirstPublic},
		{"its own address", own(FirstPublic), four, debian(CoturnConf()), FirstPublic},
		{"in a container", bridge, four, contained(CoturnConf(pair(FirstPublic, container)) + onBridge), FirstPublic},
	} {
		t.Run(c.name, func(t *testing.T) {
			alone(t, c.network, c.families, c.coturn)
			idle(t, c.know)
			quick(t)
		})
	}
}

// DS-Lite has no way in by IPv4: callers who come by IPv6 are right, as the remedy says. It
// is seen by the address of the provider's router, or, as with 464XLAT, by one's own.
func TestDoctorFindsDSLite(t *testing.T) {
	alone(t, dsLite, "", debian(CoturnConf(pair(Public6, Public6))))
	idle(t, Public6)
	each(t, world.Router, "addr del 192.168.50.1/24 dev lan\naddr add 192.0.0.1/29 dev lan\n"+
		"route add 192.168.50.0/24 dev lan\n")
	each(t, world.Net, "route replace default via 192.0.0.1 dev eth0 onlink\n")
	f := among(t, finding{"warning", "address, ipv4", "192.0.0.1 on the way is of DS-Lite or 464XLAT", ""})
	if !strings.Contains(f.Hint, "AAAA record of coturn's name with "+Public6.String()) {
		t.Error("the remedy:", f.Hint)
	}
	if got, _ := six.try(t.Context()); got != Public6.String() {
		t.Error("callers by IPv6 get", got)
	}
	each(t, world.Router, "route add 192.0.0.4 dev lan\n")
	each(t, world.Net, "addr add 192.0.0.4/32 dev eth0\n"+
		"route replace default via 192.0.0.1 dev eth0 onlink src 192.0.0.4\n")
	among(t, finding{"warning", "address, ipv4", "192.0.0.4 on the way", ""})
}

// Debian's coturn, which nobody has set up, lends relays to everyone. Where callers reach
// it that is a problem; the remedy is the same.
func TestDoctorFindsOpenRelay(t *testing.T) {
	onYunoHost(t)
	config := sourceStun("1h", false) + "families = [\"ipv4\"]\n"
	for _, c := range []Coturn{FirstApp.Coturn(), SecondApp.Coturn()} {
		config += ruleCoturn(c.File, c.Unit)
	}
	watching(t, config, FirstPublic)
	relay := finding{"warning", "port 3478", "an open relay", ""}
	behind := among(t, relay)
	if !strings.Contains(behind.Found, Private.String()+" is behind a NAT") {
		t.Errorf("behind a NAT: %+v", behind)
	}
	must(t, nft(t.Context(), world.Router, hairpin))
	rules(t, world.Net, "flush ruleset\n")
	relay.Level = "problem"
	if f := among(t, relay); !strings.Contains(f.Found, "it is reached at "+FirstPublic.String()) {
		t.Errorf("the router hands it on: %+v", f)
	}
	if strangers := (door{port: Port}).closed(t.Context(), Caller{Namespace: world.Inet}); strangers == isClosed {
		t.Error("strangers do not reach it")
	}
	shell(t, among(t, relay).Hint)
	notAmong(t, relay)
	if all, _ := doctor(t); !slices.Contains(all, finding{
		"ok", "open relay", "nobody lends relays without credentials at port 3478", "",
	}) {
		t.Errorf("it does not say that there is none: %+v", all)
	}
}

// hairpin has the router hand on 3478, also to who asks from its own network.
const hairpin = `
table ip nat {
	chain in { ip daddr 203.0.113.10 meta l4proto { tcp, udp } th dport 3478 dnat to 192.168.50.2; }
	chain out { ip saddr 192.168.50.0/24 ip daddr 192.168.50.2 masquerade; }
}
`

// A machine with a public address of its own keeps others from an open relay by its
// firewall, or by nothing.
func TestDoctorFindsOpenRelayInPublic(t *testing.T) {
	alone(t, own(FirstPublic), "families = [\"ipv4\"]", debian(CoturnConf()))
	must(t, server.writeCoturn(t.Context(), YunoHost, strings.Replace(CoturnConf(), "3478", "3480", 1)))
	configured(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+ruleCoturn(YunoHost.File, YunoHost.Unit))
	must(t, server.WriteFile(Debian.File, "syslog\n", 0o644))
	shell(t, "systemctl daemon-reload; systemctl restart "+Debian.Unit+" "+YunoHost.Unit)
	stranger := func() string {
		return (door{port: Port}).closed(t.Context(), Caller{Namespace: world.Inet, Resend: 250 * time.Millisecond})
	}
	for _, c := range []struct{ rules, level, words, stranger string }{
		{"", "problem", "no firewall on this machine keeps others from 203.0.113.10", isOpen},
		{yunohostFirewall, "warning", "the firewall keeps others from 203.0.113.10", isClosed},
		{strings.Replace(yunohostFirewall, "22,", "22, 3478,", 1), "problem", "no firewall on this machine keeps", isOpen},
		{
			strings.Replace(yunohostFirewall, "meta l4proto { icmp", "meta mark 7 accept\n\t\tmeta l4proto { icmp", 1),
			"warning", "is not known: what it asks of a packet is more", isClosed,
		},
	} {
		rules(t, world.Net, "flush ruleset\n"+c.rules)
		among(t, finding{c.level, "port 3478", c.words, ""})
		if got := stranger(); (got == isOpen) != (c.stranger == isOpen) {
			t.Errorf("with %q a stranger is %s", c.rules, got)
		}
	}
	shell(t, among(t, finding{"warning", "port 3478", "an open relay", ""}).Hint)
	notAmong(t, finding{"", "port 3478", "an open relay", ""})
	if stranger() == isOpen {
		t.Error("strangers are still welcome")
	}
}

// Of a unit that is being stopped, nobody can tell yet.
func TestDoctorWhileStopping(t *testing.T) {
	allWell(t)
	dir := "/etc/systemd/system/" + YunoHost.Unit + ".d"
	must(t, server.WriteFile(dir+"/slow.conf", "[Service]\nExecStop=/bin/sleep 60\n", 0o644))
	undo(t, "rm "+dir+"/slow.conf; systemctl daemon-reload; systemctl kill -s KILL "+YunoHost.Unit)
	shell(t, "systemctl daemon-reload; systemctl stop --no-block "+YunoHost.Unit)
	finds(t, finding{})
	among(t, finding{"unknown", YunoHost.Unit, "deactivating", ""})
}
