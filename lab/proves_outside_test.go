//go:build lab

// Another machine proves from outside what callers get, and is sent nowhere else.

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The addresses of the machine outside, in a network of its own behind the internet; and
// that of a third machine, which nobody is to send to.
var (
	Beyond = netip.MustParseAddr("198.51.100.2")
	Third  = netip.MustParseAddr("203.0.113.200")
)

// beyondLink are the cable and the addresses of that network: the names of the lab, of the
// internet's namespace and of its own go in.
const beyondLink = `
link add %[1]s-e type veth peer name %[1]s-f
link set %[1]s-e netns %[2]s name beyond
link set %[1]s-f netns %[3]s name eth0
`

const beyondInet = `
link set beyond up
addr add 198.51.100.1/24 dev beyond
addr add 203.0.113.200/24 dev wan
addr add 2001:db8:99::1/64 dev beyond nodad
`

const beyondAddresses = `
link set lo up
link set eth0 up
addr add 198.51.100.2/24 dev eth0
addr add 2001:db8:99::2/64 dev eth0 nodad
route add default via 198.51.100.1
route add default via 2001:db8:99::1
`

const beyondRoutes = `
route replace 198.51.100.0/24 via 203.0.113.1
route replace 2001:db8:99::/64 via 2001:db8::1
`

// thirdCounts counts what comes to the third machine, which answers nothing.
const thirdCounts = `
table ip third {
	chain in {
		type filter hook prerouting priority -300;
		ip daddr 203.0.113.200 counter drop
	}
}
`

// newBeyond makes the network, which goes with the test.
func newBeyond(t *testing.T) (namespace string) {
	t.Helper()
	ctx := t.Context()
	namespace = world.name + "beyond"
	_, err := run(ctx, "ip", "netns", "add", namespace)
	must(t, err)
	t.Cleanup(func() {
		must(t, removeNamespace(context.Background(), namespace))
		_, err := run(context.Background(), inNet(world.Inet, "nft", "delete", "table", "ip", "third")...)
		must(t, err)
		must(t, ip(context.Background(), world.Inet, "addr del 203.0.113.200/24 dev wan\n"))
	})
	must(t, ip(ctx, "", fmt.Sprintf(beyondLink, world.name, world.Inet, namespace)))
	must(t, ip(ctx, world.Inet, beyondInet))
	must(t, ip(ctx, namespace, beyondAddresses))
	_, err = run(ctx, inNet(world.Inet, "sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")...)
	must(t, err)
	must(t, nft(ctx, world.Inet, thirdCounts))
	must(t, ip(ctx, world.Router, beyondRoutes))
	return namespace
}

// looksOutside is what the machine outside has, which serves these.
func looksOutside(serve ...string) string {
	names, _ := json.Marshal(serve)
	return fmt.Sprintf("serve = %s\n%sfamilies = [\"ipv4\"]\n[[rule]]\non = [\"x\"]\ndo = [\"exec /bin/true\"]\n",
		names, sourceStun("5s", false))
}

// asks is what the TURN server has to ask others.
func asks() string {
	return sourceStun("1h", false) + "families = [\"ipv4\"]\n" + connecting("turn", Private, "/etc/netwatch") +
		"[[rule]]\nname = \"began\"\non = [\"started\"]\ndo = [\"exec /bin/true\"]\n"
}

// asksOutside is what it has with coturn: it looks when it is told to, and changes nothing by
// itself.
func asksOutside() string {
	return asks() +
		fmt.Sprintf("[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"verify turn %[1]s from=mqtt\"]\n"+
			"[[rule]]\non = [\"set\"]\ndo = [\"rotate coturn %[1]s\", \"restart %[2]s\", \"verify turn %[1]s\"]\n",
			YunoHost.File, YunoHost.Unit)
}

// outsideWorld are the TURN server, a machine outside that serves it, and the network of that.
func outsideWorld(t *testing.T) (outside *machine, beyond string) {
	t.Helper()
	brokered(t, "turn", "outside", "hostile")
	beyond = newBeyond(t)
	watching(t, asksOutside(), FirstPublic)
	outside = newMachine(t, "outside", beyond, Public6, looksOutside("turn", "hostile"))
	outside.says(t, "status", "serves turn, hostile", Beyond.String(), "peer turn", FirstPublic.String())
	return outside, beyond
}

// anew has both machines be as if nobody had asked yet: one is asked once a minute.
func anew(t *testing.T, outside *machine) {
	t.Helper()
	must(t, outside.stop(syscall.SIGTERM))
	outside.start(t)
	outside.says(t, "status", Beyond.String(), "peer turn", "here since")
	shell(t, "systemctl restart netwatch.service")
	says(t, "netwatch status", "peer outside", "here since", Beyond.String())
	says(t, "netwatch status | grep '^rule began'", "changed") // It has looked for its address
}

// looked has the TURN server looked at, and returns what is said of that, and how long it
// took.
func looked(t *testing.T) (text string, took time.Duration) {
	t.Helper()
	began := time.Now()
	text = shell(t, "netwatch fire look 2>&1 || true")
	return text, time.Since(began)
}

// wantsAll fails unless a text has all of these words.
func wantsAll(t *testing.T, name, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: it does not say %q:\n%s", name, word, text)
		}
	}
}

// shutsOut has something not come in by the router.
func shutsOut(t *testing.T, rule string) {
	t.Helper()
	must(t, nft(t.Context(), world.Router, "table ip closed { chain in { type filter hook prerouting priority raw; "+
		"iifname \"wan\" "+rule+" drop; }; }\n"))
	t.Cleanup(func() {
		_, err := run(context.Background(), inNet(world.Router, "nft", "delete", "table", "ip", "closed")...)
		must(t, err)
	})
}

// What does not come in from outside is found by another machine: which port, and which does;
// and a wrong address, that is right here as far as one can see.
func TestProvenFromOutside(t *testing.T) {
	outside, _ := outsideWorld(t)
	if text, _ := looked(t); !strings.Contains(text, "others ask after 30 s") {
		t.Errorf("a young address: %s", text)
	}
	wait(t, 31*time.Second)
	for _, c := range []struct {
		name, closed, conf string
		says, doctor       []string
	}{
		{
			"right", "", "203.0.113.10",
			[]string{"unchanged", "UDP 3478, TCP 3478, UDP 49153-49193", "seen by outside"},
			[]string{"ok       from outside, " + YunoHost.File},
		},
		{
			"udp", "udp dport 3478", "203.0.113.10",
			[]string{
				"failed", "UDP 3478 is not reachable from outside; TCP 3478 and UDP 49153-49193 are right (seen by outside)",
				"hand on UDP 3478 to this machine (192.168.50.2)",
			},
			[]string{
				"problem  from outside, " + YunoHost.File, "UDP 3478 is not reachable from outside",
				"hint: have the router hand on UDP 3478 to this machine (192.168.50.2)",
			},
		},
		{
			"relay", "udp dport 49153-49193", "203.0.113.10",
			[]string{"failed", "UDP 49153-49193 is not reachable from outside; UDP 3478 and TCP 3478 are right"},
			nil,
		},
		{
			"all", "meta l4proto { tcp, udp } th dport { 3478, 49153-49193 }", "203.0.113.10",
			[]string{"failed", "UDP 3478 and TCP 3478 are not reachable from outside (seen by outside)"},
			nil,
		},
		{
			"address", "", "203.0.113.99",
			[]string{"failed", "UDP 3478 and TCP 3478 are answered with another address", "external-ip"},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, server.Install(t.Context(), YunoHost, netip.MustParseAddr(c.conf)))
			if c.closed != "" {
				shutsOut(t, c.closed)
			}
			anew(t, outside)
			before := incarnation(t, YunoHost.Unit)
			text, took := looked(t)
			t.Logf("after %s: %s", took.Round(time.Millisecond), text)
			wantsAll(t, c.name, text, c.says...)
			if len(c.doctor) > 0 {
				wantsAll(t, c.name, shell(t, "netwatch doctor || true"), c.doctor...)
			}
			if incarnation(t, YunoHost.Unit) != before {
				t.Error("a proof from outside has restarted coturn")
			}
		})
	}
}

// Where nobody serves, is there or answers, nothing is known; and that is no failure.
func TestNobodyOutside(t *testing.T) {
	outside, beyond := outsideWorld(t)
	wait(t, 31*time.Second)
	must(t, outside.stop(syscall.SIGTERM))
	text, _ := looked(t)
	wantsAll(t, "nobody is here", text, "skipped", "unknown: no other machine is here")
	other := newMachine(t, "outside", beyond, Public6, looksOutside("another"))
	other.says(t, "status", Beyond.String(), "peer turn")
	says(t, "netwatch status", "peer outside", "here since", Beyond.String())
	text, _ = looked(t)
	wantsAll(t, "nobody serves", text, "skipped", `unknown: no machine elsewhere (1) serves turn`, `serve = ["turn"]`)
	must(t, other.stop(syscall.SIGTERM))
	anew(t, outside)
	must(t, outside.process.cmd.Process.Signal(syscall.SIGSTOP)) // It is asked, and does not come to answering
	killed := make(chan error, 1)
	time.AfterFunc(3*time.Second, func() { killed <- outside.stop(syscall.SIGKILL) })
	text, took := looked(t)
	must(t, <-killed)
	wantsAll(t, "killed", text, "skipped", "unknown: nobody answered within 10s")
	if took > 12*time.Second {
		t.Errorf("it took %s", took)
	}
	text = shell(t, "netwatch history")
	wantsAll(t, "history", text, "skipped: unknown: nobody answered within 10s")
}

// publishes has the hostile machine publish.
func publishes(t *testing.T, topic, message string) {
	t.Helper()
	shell(t, fmt.Sprintf("mosquitto_pub -V 5 -q 1 -h 192.168.50.2 -p 8883 --cafile /etc/netwatch/broker.crt -u hostile "+
		"-P hostilehostile -t netwatch/hostile/%s -m '%s'", topic, message))
}

// third is how many packets have come to the third machine.
func third(t *testing.T) int {
	t.Helper()
	text, err := run(t.Context(), inNet(world.Inet, "nft", "list", "table", "ip", "third")...)
	must(t, err)
	found := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(text)
	n, err := strconv.Atoi(found[1])
	must(t, err)
	return n
}

// A machine that is served, and hostile, has the one outside send nothing to a third one
// whose address it has not claimed for half a minute, nor to ports of other services; and
// what it floods with is looked at once. Claimed for long enough, it is 20 packets a minute.
func TestHostileAsks(t *testing.T) {
	outside, _ := outsideWorld(t)
	claims := func(a netip.Addr) {
		number := time.Now().UnixMilli()
		publishes(t, "state -r", fmt.Sprintf(`{"number":%[1]d,"connect":%[1]d,"addresses":{"ipv4":{"address":"%[2]s"}}}`,
			number, a))
	}
	asks := func(id string, a netip.Addr, port int) {
		publishes(t, "ask/outside", fmt.Sprintf(
			`{"id":"%s","address":"%s","ways":[{"over":"udp","port":%d}],"name":"n","password":"p"}`, id, a, port))
	}
	claims(FirstPublic)
	wait(t, 31*time.Second)
	asks("aaaaaaaaaaaa", Third, 3478)
	outside.says(t, "status", "hostile was not served", "203.0.113.200 is not the address that it has said")
	must(t, outside.stop(syscall.SIGTERM))
	outside.start(t)
	claims(Third)
	outside.says(t, "status", Beyond.String(), "peer hostile", "here since", Third.String())
	asks("bbbbbbbbbbbb", Third, 3478)
	outside.says(t, "status", "and 30 are waited for")
	publishes(t, "ask/outside", "rubbish")
	outside.says(t, "status", "it is not understood")
	shell(t, `i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo '{"id":"cccccccccc'$i'","address":"203.0.113.200",`+
		`"ways":[{"over":"udp","port":3478}],"name":"n","password":"p"}'; done | mosquitto_pub -V 5 -q 1 -h 192.168.50.2 `+
		`-p 8883 --cafile /etc/netwatch/broker.crt -u hostile -P hostilehostile -t netwatch/hostile/ask/outside -l`)
	outside.says(t, "status", "ago, and may once a minute")
	wait(t, 31*time.Second)
	if n := third(t); n > 0 {
		t.Errorf("%d packets have come to a third machine", n)
	}
	must(t, outside.stop(syscall.SIGTERM))
	outside.start(t)
	claims(Third)
	outside.says(t, "status", Beyond.String(), "peer hostile", "here since", Third.String())
	asks("dddddddddddd", Third, 53)
	outside.says(t, "status", "it asks about a port below 1024")
	must(t, outside.stop(syscall.SIGTERM))
	outside.start(t)
	outside.says(t, "status", Beyond.String())
	claims(Third)
	outside.says(t, "status", "peer hostile", "here since", Third.String())
	asks("eeeeeeeeee", Third, 3478)
	outside.says(t, "status", "hostile was looked at")
	for n := range 20 {
		asks(fmt.Sprintf("ffffffffff%d", n), Third, 3478)
	}
	wait(t, 5*time.Second)
	t.Logf("%d packets have come to a third machine that was claimed for long enough", third(t))
	if n := third(t); n == 0 || n > 20 {
		t.Errorf("%d packets have come to a third machine", n)
	}
}

// After a change callers are right as soon as ever, since the rule that does it waits for
// nobody; and the proof from outside, in a rule of its own, comes when others look.
func TestOutsideAfterAChange(t *testing.T) {
	outside, _ := outsideWorld(t)
	watching(t, asksOutside()+ruleCoturn(YunoHost.File, YunoHost.Unit)+
		fmt.Sprintf("[[rule]]\nname = \"young\"\non = [\"ip-changed\"]\ndo = [\"verify turn %[1]s from=mqtt\"]\n"+
			"[[rule]]\nname = \"later\"\non = [\"ip-changed\"]\nsettle = \"40s\"\ndo = [\"verify turn %[1]s from=mqtt\"]\n",
			YunoHost.File), FirstPublic)
	shell(t, "systemctl reload netwatch.service")
	now := Public(70)
	must(t, world.SetPublic(t.Context(), now))
	must(t, ip(t.Context(), world.Router, beyondRoutes))
	shell(t, "netwatch fire --no-wait ip-changed")
	promised(t, rightAfter(t, now, time.Now()), time.Second)
	says(t, "netwatch history --rule young", "skipped: unknown: "+now.String()+" has stood for 0 s, others ask after 30 s")
	outside.says(t, "status", "peer turn", now.String())
	wait(t, 35*time.Second)
	says(t, "netwatch history --rule later", "unchanged: ipv4 "+now.String(), "seen by outside")
	t.Log(shell(t, "netwatch history --rule later"))
}

// The TURN server in LiveKit is proven from outside where its version is known by the unit of
// a rule, and closed ports of its relays are found.
func TestCallsProvenFromOutside(t *testing.T) {
	brokered(t, "turn", "outside")
	newest := Calls
	newest.Version = LiveKitVersions[1]
	calls(t, newest, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, newest.Unit)
	must(t, world.Forward(t.Context(), "7880-7882, 7894-7895, 30000-40000", Private))
	certify(t, 30)
	writeCalls(t, newest.conf("node_ip: "+FirstPublic.String())+fmt.Sprintf(callsTURN, filepath.Dir(newest.File)))
	restartCalls(t)
	beyond := newBeyond(t)
	rules := fmt.Sprintf("[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"verify livekit %[1]s from=mqtt\"]\n"+
		"[[rule]]\non = [\"set\"]\ndo = [\"rotate livekit %[1]s\", \"restart %[2]s\"]\n", newest.File, newest.Unit)
	watching(t, asks()+rules, FirstPublic)
	outside := newMachine(t, "outside", beyond, Public6, looksOutside("turn"))
	outside.says(t, "status", Beyond.String(), "peer turn", FirstPublic.String())
	wait(t, 31*time.Second)
	text, took := looked(t)
	t.Logf("after %s: %s", took, text)
	wantsAll(t, "right", text, "unchanged", "UDP 7894", "TLS 7895", "UDP 30000-40000", "seen by outside")
	wantsAll(t, "doctor", shell(t, "netwatch doctor || true"), "ok       from outside, "+newest.File)
	shutsOut(t, "udp dport 30000-40000")
	anew(t, outside)
	text, _ = looked(t)
	wantsAll(t, "closed", text, "UDP 30000-40000 is not reachable from outside; UDP 7894 and TLS 7895 are right")
}
