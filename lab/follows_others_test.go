//go:build lab

// The address changes, and callers of ejabberd, Janus and rtpengine are told the right
// one, each of them Debian's own.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// others makes a lab of its own whose server has packages of Debian's.
func others(t *testing.T, packages ...string) {
	t.Helper()
	leave, err := moveIn(t.Context(), Here)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			log, err := server.Exec(context.Background(), "journalctl", "-b", "-o", "cat", "-n", "80")
			t.Logf("the server's log (%v):\n%s", err, log)
		}
		must(t, leave())
	})
	began := time.Now()
	must(t, server.AddPackages(t.Context(), packages...))
	t.Logf("%v: installed in %v", packages, time.Since(began).Round(time.Second))
	must(t, world.Masquerade(t.Context()))
	must(t, world.SetPublic(t.Context(), FirstPublic))
}

// ruleOther is a configuration with the rule of a server.
func ruleOther(name, file, follows string) string {
	return fmt.Sprintf("%sfamilies = [\"ipv4\"]\n\n[[rule]]\non = [\"started\", \"ip-changed\"]\ndo = [%q, %q]\n",
		sourceStun(every.String(), false), "rotate "+name+" "+file, follows)
}

const ejabberdConf = `hosts: [matrix.example.org]
loglevel: info
auth_method: internal
listen:
  -
    port: 5222
    ip: "127.0.0.1"
    module: ejabberd_c2s
  -
    port: 3478
    ip: "::"
    transport: udp
    module: ejabberd_stun
    use_turn: true
    turn_min_port: 49153
    turn_max_port: 49193
    auth_realm: matrix.example.org
    ## The server's public IPv4 address:
    turn_ipv4_address: "203.0.113.10" # here
`

// TestEjabberdFollows holds that callers of ejabberd get the right relayed address by a
// reload alone.
func TestEjabberdFollows(t *testing.T) {
	others(t, "ejabberd")
	const file, unit = "/etc/ejabberd/ejabberd.yml", "ejabberd.service"
	must(t, server.WriteFile(file, ejabberdConf, 0o640))
	shell(t, "systemd-tmpfiles --create; chown ejabberd:ejabberd "+file)
	shell(t, "systemctl daemon-reload && systemctl start "+unit)
	shell(t, "ejabberdctl register alice matrix.example.org secret")
	caller = Caller{Namespace: world.Inet, Username: "alice", Password: "secret"}
	right(t, FirstPublic, FirstPublic, 20*time.Second)
	watching(t, ruleOther("ejabberd", file, "reload "+unit), FirstPublic)
	was := show(t, unit, "MainPID")
	began := time.Now()
	shell(t, "systemctl reload "+unit)
	byHand := time.Since(began) // An Erlang of its own is begun for that
	t.Logf("a reload by hand takes %v", byHand.Round(time.Millisecond))
	promised(t, sinceNoticed(t, 3, func(to netip.Addr) time.Time { return right(t, to, to, 20*time.Second) }),
		byHand+300*time.Millisecond)
	if is := show(t, unit, "MainPID"); is != was {
		t.Errorf("its process was %s and is %s", was, is)
	}
	want := strings.ReplaceAll(ejabberdConf, FirstPublic.String(), Public(32).String())
	if conf := shell(t, "cat "+file); conf+"\n" != want {
		t.Errorf("the file is\n%s", conf)
	}
}

// offered is what a caller offers: sound, by WebRTC.
const offered = `v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 40000 UDP/TLS/RTP/SAVPF 111\r\n` +
	`c=IN IP4 192.0.2.1\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\n` +
	`a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00` + colons + `\r\na=rtpmap:111 opus/48000/2\r\n`

// colons are the rest of a fingerprint.
const colons = ":01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"

// askJanus has Janus answer an offer, over its REST, and prints the answer.
const askJanus = `import json, urllib.request
def ask(path, body=None):
    if body:
        body["transaction"] = "x"
    to = urllib.request.Request("http://127.0.0.1:8088/janus" + path, body and json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(to, timeout=5))
session = "/%d" % ask("", {"janus": "create"})["data"]["id"]
handle = session + "/%d" % ask(session, {"janus": "attach", "plugin": "janus.plugin.echotest"})["data"]["id"]
ask(handle, {"janus": "message", "body": {"audio": True}, "jsep": {"type": "offer", "sdp": "` + offered + `"}})
event = {}
while "jsep" not in event:
    event = ask(session + "?maxev=1")
print(event["jsep"]["sdp"])
ask(session, {"janus": "destroy"})
`

// askRTPEngine has rtpengine rewrite an offer, by its own protocol, and prints it.
const askRTPEngine = `import socket
sdp = "` + offered + `"
words = {"ICE": "remove", "call-id": "x", "command": "offer", "from-tag": "y", "sdp": sdp}
text = "z d" + "".join("%d:%s%d:%s" % (len(k), k, len(v), v) for k, v in sorted(words.items())) + "e"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3)
s.sendto(text.encode(), ("127.0.0.1", 2223))
print(s.recv(65535).decode())
`

// tells waits until the answer that a script gets has an address, and returns when that
// was.
func tells(t *testing.T, script string, address netip.Addr) time.Time {
	t.Helper()
	var out string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); wait(t, pause) {
		out, _ = server.Exec(t.Context(), "/usr/bin/python3", "-c", script) // It may be starting
		if strings.Contains(out, " "+address.String()+" ") || strings.Contains(out, " "+address.String()+"\r\n") {
			return time.Now()
		}
	}
	t.Fatalf("it does not say %s:\n%s", address, out)
	return time.Time{}
}

// followed changes the address some times, and logs when callers are right.
func followed(t *testing.T, script string) {
	t.Helper()
	tells(t, script, FirstPublic)
	var times Times
	for i := range 3 {
		to := Public(10 + i)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		times = append(times, tells(t, script, to).Sub(changed))
		idle(t, to)
	}
	promised(t, times, every+settle+3*time.Second)
}

// TestJanusFollows holds that Debian's file, which names no address, gets one, and that
// callers are told that of today after a restart.
func TestJanusFollows(t *testing.T) {
	others(t, "janus")
	const file, unit = "/etc/janus/janus.jcfg", "janus.service"
	before := shell(t, "cat "+file)
	shell(t, "systemctl daemon-reload && systemctl start "+unit)
	unlimited(t, unit)
	watching(t, ruleOther("janus", file, "restart "+unit), FirstPublic)
	followed(t, askJanus)
	line := "\tnat_1_1_mapping = \"" + Public(12).String() + "\";\n"
	want := strings.Replace(before, "nat: {\n", "nat: {\n"+line, 1)
	if after := shell(t, "cat "+file); after != want || want == before {
		t.Errorf("the file is\n%s", after)
	}
}

// TestRTPEngineFollows holds the same of rtpengine.
func TestRTPEngineFollows(t *testing.T) {
	others(t, "rtpengine-daemon")
	const file, unit = "/etc/rtpengine/rtpengine.conf", "rtpengine-daemon.service"
	shell(t, "sed -i 's/^interface = any/interface = "+Private.String()+"/; s/^table = 0/table = -1/' "+file+
		" && systemctl daemon-reload && systemctl start "+unit)
	before := shell(t, "cat "+file)
	unlimited(t, unit)
	watching(t, ruleOther("rtpengine", file, "restart "+unit), FirstPublic)
	followed(t, askRTPEngine)
	line := "interface = " + Private.String()
	want := strings.Replace(before, line, line+"!"+Public(12).String(), 1)
	if after := shell(t, "cat "+file); after != want {
		t.Errorf("the file is\n%s", after)
	}
}

// TestRTPEngineAny holds what callers of rtpengine are told by Debian's own file, which
// names no address, that this stays as it is, and that what the step says would mend it.
func TestRTPEngineAny(t *testing.T) {
	others(t, "rtpengine-daemon")
	const file, unit = "/etc/rtpengine/rtpengine.conf", "rtpengine-daemon.service"
	shell(t, "sed -i 's/^table = 0/table = -1/' "+file+" && systemctl daemon-reload && systemctl start "+unit)
	before := shell(t, "cat "+file)
	if !strings.Contains(before, "\ninterface = any\n") {
		t.Fatalf("Debian's file is another:\n%s", before)
	}
	unlimited(t, unit)
	tells(t, askRTPEngine, Private)
	watching(t, ruleOther("rtpengine", file, "restart "+unit), FirstPublic)
	line := Private.String() + "!" + FirstPublic.String()
	says(t, "netwatch history", "unchanged: none; "+FirstPublic.String()+" is not added: any stands for addresses of "+
		"this machine, and callers are told those; write "+line+" in its place")
	if after := shell(t, "cat "+file); after != before {
		t.Errorf("the file is\n%s", after)
	}
	tells(t, askRTPEngine, Private)
	shell(t, "sed -i 's/^interface = any/interface = "+line+"/' "+file+" && systemctl restart "+unit)
	followed(t, askRTPEngine)
	shell(t, "sed -i 's/^interface = .*/interface = any!203.0.113.77/' "+file+" && systemctl restart "+unit)
	tells(t, askRTPEngine, netip.MustParseAddr("203.0.113.77"))
	// For its addresses of IPv6 too, which is why a step writes it for nobody.
	six := strings.Replace(askRTPEngine, `"ICE": "remove"`, `"ICE": "remove", "address family": "IP6"`, 1)
	tells(t, strings.Replace(six, `"call-id": "x"`, `"call-id": "six"`, 1), netip.MustParseAddr("203.0.113.77"))
}

// TestAnyFileFollows holds that one value of a file of any server is written by the helper,
// under its rules, and that what is no address is not.
func TestAnyFileFollows(t *testing.T) {
	fresh(t, YunoHost)
	files := map[string]string{
		"/etc/any.yml": "a:\n  - {k: 1}\n  - k: 2\n    ip: \"203.0.113.10\" # x\n",
		"/etc/any.ini": "[a.b]\nip = 203.0.113.10 ; x\n",
		"/etc/any.env": "A=1\nIP='203.0.113.10'\n", "/etc/none.env": "IP=$(ip)\n",
	}
	for name, text := range files {
		must(t, server.WriteFile(name, text, 0o640))
		t.Cleanup(func() { must(t, os.Remove(server.path(name))) })
	}
	config := sourceStun(every.String(), false) + `families = ["ipv4"]

[[rule]]
on = ["started", "ip-changed"]
do = ["rotate yaml /etc/any.yml a[k=2].ip", "rotate ini /etc/any.ini a.b.ip", "rotate env /etc/any.env IP"]

[[rule]]
on = ["look"]
retry = "0s"
do = ["rotate env /etc/none.env IP"]
`
	watching(t, config, FirstPublic)
	must(t, world.SetPublic(t.Context(), Public(10)))
	idle(t, Public(10))
	fires(t, "look", 1, "line 1, column 4: the value is neither an address nor empty")
	for name, text := range files {
		want := strings.ReplaceAll(text, FirstPublic.String(), Public(10).String())
		if is := shell(t, "cat "+name+"; stat -c %U:%G:%a "+name); is != want+"root:root:640" {
			t.Errorf("%s is\n%s", name, is)
		}
	}
	log := shell(t, "journalctl -b -o cat -u 'netwatch-file@*'")
	if !strings.Contains(log, "netwatch-file@") {
		t.Errorf("the helper has written nothing:\n%s", log)
	}
}
