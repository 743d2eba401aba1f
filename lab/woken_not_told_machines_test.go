//go:build lab

// Several machines: who sees a change tells the others.

package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// brokerPort is mosquitto's for TLS.
const brokerPort = 8883

// brokered makes the lab one whose server has Debian's mosquitto, as contrib says, with a
// user for each machine, whose password is the name twice.
func brokered(t *testing.T, machines ...string) {
	t.Helper()
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	must(t, server.AddPackages(t.Context(), "mosquitto", "mosquitto-clients"))
	for from, to := range map[string]string{
		"netwatch.conf": "/etc/mosquitto/conf.d/netwatch.conf", "netwatch.acl": "/etc/mosquitto/netwatch.acl",
	} {
		text, err := os.ReadFile(filepath.Join("..", "contrib", "mqtt", from))
		must(t, err)
		must(t, server.WriteFile(to, string(text), 0o644))
	}
	must(t, server.WriteFile("/etc/mosquitto/netwatch.passwd", "", 0o600))
	for _, m := range machines {
		shell(t, "mosquitto_passwd -b /etc/mosquitto/netwatch.passwd "+m+" "+m+m)
		must(t, server.WriteFile("/etc/netwatch/"+m+".password", m+m+"\n", 0o600))
	}
	shell(t, "chown -R mosquitto: /etc/mosquitto; rm -rf /var/lib/mosquitto/*")
	certifyBroker(t, Private.String(), Public6.String())
	shell(t, "systemctl restart mosquitto.service")
	// Nothing of it is in the way of another's listeners.
	undo(t, "systemctl stop mosquitto.service; rm -f /etc/mosquitto/conf.d/netwatch.conf")
}

// certifyBroker gives the broker a certificate for these addresses, and the machines the one
// that vouches for it.
func certifyBroker(t *testing.T, addresses ...string) {
	t.Helper()
	pair, err := NewPair(addresses...)
	must(t, err)
	must(t, server.WriteFile("/etc/mosquitto/certs/netwatch.crt", pair.Cert, 0o644))
	must(t, server.WriteFile("/etc/mosquitto/certs/netwatch.key", pair.Key, 0o640))
	must(t, server.WriteFile("/etc/netwatch/broker.crt", pair.Cert, 0o644))
	shell(t, "chown mosquitto: /etc/mosquitto/certs/*")
}

// connecting is the section by which a machine is connected; its files are in a directory.
func connecting(host string, at netip.Addr, dir string) string {
	return fmt.Sprintf(`
[source.mqtt]
broker = "mqtts://%s"
host = %q
password = "@%s/%s.password"
ca = "%s/broker.crt"
`, netip.AddrPortFrom(at, brokerPort), host, dir, host, dir)
}

// A machine is a netwatch in a network namespace of the lab, beside the server's.
type machine struct {
	name, namespace, config string
	process                 *process
}

// newMachine starts one, with the sections that it has beside that of the broker. It ends
// with the test.
func newMachine(t *testing.T, name, namespace string, at netip.Addr, sections string) *machine {
	t.Helper()
	must(t, install())
	dir := t.TempDir()
	m := &machine{name: name, namespace: namespace, config: filepath.Join(dir, "netwatch.toml")}
	text := fmt.Sprintf("[daemon]\nsocket = \"%[1]s/s/socket\"\nstate = \"%[1]s/state\"\n", dir) +
		connecting(name, at, server.path("/etc/netwatch")) + sections
	must(t, os.WriteFile(m.config, []byte(text), 0o600))
	t.Cleanup(func() { must(t, m.stop(syscall.SIGKILL)) })
	m.start(t)
	return m
}

func (m *machine) start(t *testing.T) {
	t.Helper()
	var err error
	m.process, err = start(m.config+".log", inNet(m.namespace, server.path("/usr/bin/netwatch"), "-c", m.config, "run")...)
	must(t, err)
}

func (m *machine) stop(how os.Signal) error {
	if m.process == nil {
		return nil
	}
	p := m.process
	m.process = nil
	return p.stop(how)
}

// says waits until a command of the machine's netwatch prints all of these words.
func (m *machine) says(t *testing.T, command string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := until(ctx, 50*time.Millisecond, func() error {
		line := append([]string{server.path("/usr/bin/netwatch"), "-c", m.config}, strings.Fields(command)...)
		out, err := run(ctx, line...)
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("%s %s does not say %q (%w):\n%s", m.name, command, word, err, out)
			}
		}
		return nil
	})
	if err != nil {
		log, _ := os.ReadFile(m.config + ".log")
		t.Fatalf("%v\n%s", err, log)
	}
}

// gatewayTells is what a gateway has: it says of each new address of its wan that there is
// one, and that it has started, since it may have missed one.
const gatewayTells = `
[source.netlink]
[[rule]]
on = ["addr-changed"]
match = { interface = "wan", family = "ipv4", new = "?*" }
settle = "0s"
do = ["tell"]
[[rule]]
on = ["started"]
do = ["tell"]
`

// turnHeeds is what the TURN server has beside its coturn.
const turnHeeds = `
[[rule]]
on = ["peer-changed"]
match = { peer = "gateway" }
do = ["probe stun"]
[[rule]]
on = ["beat"]
settle = "0s"
do = ["exec /bin/true"]
`

// threeMachines are the TURN server, whose polls are too rare to be what finds a change,
// the gateway, and one outside.
func threeMachines(t *testing.T) (gateway, outside *machine) {
	t.Helper()
	brokered(t, "turn", "gateway", "outside")
	watching(t, strings.Replace(configuration(YunoHost, "1h"), "families", "damp = false\nfamilies", 1)+
		connecting("turn", Private, "/etc/netwatch")+turnHeeds, FirstPublic)
	gateway = newMachine(t, "gateway", world.Router, Private, gatewayTells)
	outside = newMachine(t, "outside", world.Inet, Public6,
		"[[rule]]\non = [\"peer-changed\"]\ndo = [\"exec /bin/true\"]\n")
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	outside.says(t, "status", "peer turn", FirstPublic.String())
	return gateway, outside
}

// The gateway sees its address change, and callers of the TURN server behind it are right
// in the blink of an eye; whoever is outside knows of both.
func TestGatewayTells(t *testing.T) {
	gateway, outside := threeMachines(t)
	// Of one machine is told once in two seconds.
	inABlink(t, 3, 2200*time.Millisecond, func(to netip.Addr) { must(t, world.SetPublic(t.Context(), to)) })
	now := Public(22).String()
	says(t, "netwatch history", "peer-changed from mqtt", "told=addr-changed", "peer=gateway")
	says(t, "netwatch history --addresses --json", `"noticed":"peer"`)
	outside.says(t, "history", "told=ip-changed", "new="+now, "peer=turn")
	outside.says(t, "status", "peer turn", now)
	gateway.says(t, "history", "tell: changed: the broker has it")
	if text := shell(t, "runuser -u nobody -- netwatch status --json"); strings.Contains(text, "gateway") {
		t.Errorf("everybody may see the other machines: %s", text)
	}
	must(t, gateway.stop(syscall.SIGKILL))
	says(t, "netwatch history", "peer-lost from mqtt peer=gateway")
	gateway.start(t)
	says(t, "netwatch history", "peer-back from mqtt peer=gateway")
	says(t, "netwatch probe", "peer gateway", "here since")
	says(t, "curl -s --unix-socket /run/netwatch/netwatch.sock http://x/metrics", `netwatch_peers{state="here"} 2`)
}

// rightAfter is how long after a moment callers were right at an address.
func rightAfter(t *testing.T, to netip.Addr, since time.Time) Times {
	t.Helper()
	return Times{right(t, to, to, 30*time.Second).Sub(since)}
}

// A broker that is killed and forgets everything loses nothing: what changed meanwhile is
// right two seconds after it is back. That it was down is no machine's being lost.
func TestBrokerDies(t *testing.T) {
	threeMachines(t)
	for n, down := range []time.Duration{0, time.Second, 3 * time.Second} {
		to := Public(40 + n)
		shell(t, "systemctl kill -s KILL mosquitto.service; systemctl stop mosquitto.service; rm -rf /var/lib/mosquitto/*")
		must(t, world.SetPublic(t.Context(), to))
		wait(t, down)
		if n == 2 {
			says(t, "netwatch status", "peer gateway", "unknown since", "watching, but reaching the broker", "hint: see whether")
		}
		shell(t, "systemctl reset-failed mosquitto.service; systemctl start mosquitto.service")
		promised(t, rightAfter(t, to, time.Now()), 2500*time.Millisecond)
	}
	says(t, "netwatch status", "peer gateway", "here since")
	if text := shell(t, "netwatch history"); strings.Contains(text, "peer-lost") {
		t.Errorf("a broker that is down is taken for machines that are gone:\n%s", text)
	}
}

// mortal are those who are killed, each alone first, and then as it comes.
var mortal = []string{"broker", "gateway", "turn"}

// victims are who is killed in a round.
func victims(round int) []string {
	if round < len(mortal) {
		return mortal[round : round+1]
	}
	all := slices.DeleteFunc(slices.Clone(mortal), func(string) bool { return rand.N(2) == 0 })
	if len(all) == 0 {
		return mortal
	}
	return all
}

// kill kills one of them.
func (m *machine) kill(victim string) {
	switch victim {
	case "broker":
		_, _ = server.Exec(context.Background(), "systemctl", "kill", "-s", "KILL", "mosquitto.service")
	case "gateway":
		_ = m.stop(syscall.SIGKILL)
	case "turn":
		_, _ = server.Exec(context.Background(), "systemctl", "kill", "-s", "KILL", "netwatch.service")
	}
}

// Whoever is killed at whatever moment around a change, one or several, callers are right two
// seconds after all are back, and no change is missed, here or outside.
func TestMachinesKilled(t *testing.T) {
	gateway, outside := threeMachines(t)
	for _, unit := range []string{"netwatch", "mosquitto"} {
		unlimited(t, unit+".service")
	}
	killed := map[string]Times{}
	for n := range many(len(mortal)) {
		to, all := Public(60+n%150), victims(n)
		var dying sync.WaitGroup
		for _, victim := range all {
			dying.Go(func() {
				<-time.After(rand.N(400 * time.Millisecond))
				gateway.kill(victim)
			})
		}
		wait(t, rand.N(400*time.Millisecond))
		must(t, world.SetPublic(t.Context(), to))
		wait(t, time.Second)
		dying.Wait()
		if gateway.process == nil {
			gateway.start(t)
		}
		shell(t, "systemctl start mosquitto.service netwatch.service")
		who := strings.Join(all, " and ")
		killed[who] = append(killed[who], rightAfter(t, to, time.Now())...)
		outside.says(t, "status", "peer turn", to.String())
	}
	for who, times := range killed {
		t.Log(who)
		promised(t, times, 2*time.Second)
	}
}

// A broker whose certificate is for another name, or that does not know us, is not told
// anything, and what helps is said.
func TestBrokerIsAnother(t *testing.T) {
	gateway, _ := threeMachines(t)
	certifyBroker(t, "203.0.113.99")
	shell(t, "systemctl restart mosquitto.service")
	says(t, "netwatch status", "peer gateway", "unknown", "hint: name the broker as its certificate does")
	says(t, "netwatch probe || true", "other machines", "hint: name the broker as its certificate does")
	says(t, "netwatch doctor || true", "reaching the broker", "hint: name the broker as its certificate does")
	certifyBroker(t, Private.String(), Public6.String())
	must(t, server.WriteFile("/etc/netwatch/broker.crt", stranger(t), 0o644))
	shell(t, "systemctl restart mosquitto.service")
	says(t, "netwatch status", `hint: name the certificate that signed the broker's`)
	certifyBroker(t, Private.String(), Public6.String())
	shell(t, "mosquitto_passwd -b /etc/mosquitto/netwatch.passwd gateway another; systemctl restart mosquitto.service")
	says(t, "netwatch status", "peer outside", "here since")
	gateway.says(t, "status", "watching, but the broker", "refuses connecting", "hint: ")
	shell(t, "mosquitto_passwd -b /etc/mosquitto/netwatch.passwd gateway gatewaygateway")
	shell(t, "systemctl reload mosquitto.service")
	gateway.says(t, "status", "peer turn", "here since")
	shell(t, "sed -i 's/^pattern write.*//' /etc/mosquitto/netwatch.acl; systemctl restart mosquitto.service")
	gateway.says(t, "status", "refuses to take netwatch/gateway/state: not permitted", "ACL")
}

// stranger is a certificate that vouches for nobody here.
func stranger(t *testing.T) string {
	t.Helper()
	pair, err := NewPair("other.example")
	must(t, err)
	return pair.Cert
}

// published is a command that publishes as the machine outside.
const published = "mosquitto_pub -V 5 -q 1 -h 192.168.50.2 -p 8883 --cafile /etc/netwatch/broker.crt " +
	"-u outside -P outsideoutside "

// A machine that says rubbish, speaks for another, says ten megabytes or floods the
// others changes nothing for them, and they follow the gateway all the same.
func TestMachineLies(t *testing.T) {
	_, outside := threeMachines(t)
	must(t, outside.stop(syscall.SIGKILL)) // What it is called is now another's
	shell(t, published+`-r -t netwatch/outside/state -m '{"number":9e99,"told":[{"event":"x"}]}'`)
	says(t, "journalctl -u netwatch.service -o cat", "what another machine says was dropped", `"peer":"outside"`)
	said := shell(t, published+"-r -t netwatch/gateway/state -m rubbish 2>&1 || true")
	if !strings.Contains(said, "Not authorized") {
		t.Errorf("one may speak for another: %s", said)
	}
	shell(t, "head -c 10000000 /dev/zero | tr '\\0' x >/tmp/huge; "+
		published+"-r -t netwatch/outside/state -f /tmp/huge || true")
	must(t, world.SetPublic(t.Context(), Public(50)))
	promised(t, rightAfter(t, Public(50), time.Now()), time.Second)
	flood := fmt.Sprintf(`i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo '{"number":'$((%d+i))',"connect":1,`+
		`"told":[{"number":'$((%d+i))',"event":"addr-changed","new":"'$i'"}]}'; done | timeout 20 `, time.Now().UnixMilli(),
		time.Now().UnixMilli()) + published + "-r -t netwatch/outside/state -l"
	done := make(chan error)
	go func() { done <- errorOf(server.Exec(context.Background(), "sh", "-c", flood+" || true")) }()
	wait(t, 3*time.Second)
	must(t, world.SetPublic(t.Context(), Public(51)))
	promised(t, rightAfter(t, Public(51), time.Now()), 3*time.Second)
	must(t, <-done)
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	told := strings.Count(shell(t, "netwatch history"), "peer=outside told=addr-changed")
	if told > 30 {
		t.Errorf("of one machine was told %d times", told)
	}
	most := shell(t, "awk '/^VmHWM/ {print $2}' /proc/$(systemctl show -P MainPID netwatch)/status")
	t.Logf("%d events of a flood; %s kB at most", told, most)
}
