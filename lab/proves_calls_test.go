//go:build lab

// What callers of LiveKit are told is right or wrong beyond its candidates, and verify says
// so.

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// lookCalls is a rule that proves LiveKit, and starts it only if it does not run.
func lookCalls(more string) string {
	return fmt.Sprintf("\n[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"start %s\", \"verify livekit %s%s\"]\n",
		Calls.Unit, Calls.File, more)
}

// callsTURN is LiveKit's own TURN server, whose certificate others made.
const callsTURN = `turn:
  enabled: true
  domain: turn.example.org
  udp_port: 7894
  tls_port: 7895
  cert_file: %[1]s/turn.crt
  key_file: %[1]s/turn.key
`

// writeCalls writes LiveKit's file, in place.
func writeCalls(t *testing.T, text string) {
	t.Helper()
	must(t, server.WriteFile(Calls.File, text, 0o640))
}

// restartCalls restarts LiveKit, which does not wait for callers.
func restartCalls(t *testing.T) {
	t.Helper()
	shell(t, "systemctl kill -s KILL "+Calls.Unit+" || true; systemctl stop "+Calls.Unit+
		"; systemctl reset-failed "+Calls.Unit+" 2>/dev/null; systemctl start "+Calls.Unit)
}

// certify makes LiveKit's TURN server a certificate that is good for days from now on, or
// was until days ago.
func certify(t *testing.T, days int) {
	t.Helper()
	dir := Calls.File[:strings.LastIndexByte(Calls.File, '/')]
	shell(t, fmt.Sprintf("cd %s && openssl req -new -newkey rsa:2048 -nodes -subj /CN=turn.example.org -keyout turn.key "+
		"-out r 2>/dev/null && openssl x509 -req -in r -signkey turn.key -days %d -out turn.crt 2>/dev/null && "+
		"chown synapse: turn.crt turn.key && rm r", dir, days))
	undo(t, "rm -f "+dir+"/turn.crt "+dir+"/turn.key")
}

// TestCallsRelaysProven holds that verify asks the TURN server in LiveKit with what a
// caller is told.
func TestCallsRelaysProven(t *testing.T) {
	calls(t, Calls, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, Calls.Unit)
	dir := Calls.File[:strings.LastIndexByte(Calls.File, '/')]
	plain := Calls.conf("node_ip: " + FirstPublic.String())
	text := plain + fmt.Sprintf(callsTURN, dir)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+lookCalls(""))
	idle(t, FirstPublic)
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (")
	certify(t, 30)
	writeCalls(t, text)
	fires(t, "look", 1, "turn is enabled in "+Calls.File+", and callers are not told of it", "restart it")
	restartCalls(t)
	fires(t, "look", 0, "relays ipv4 203.0.113.10 (udp, tls)")
	writeCalls(t, strings.Replace(text, "7894", "7896", 1))
	fires(t, "look", 1, "nobody answers at 127.0.0.1:7896 (udp): connection refused", "udp_port and tls_port below turn:")
	writeCalls(t, text)
	certify(t, -1)
	restartCalls(t)
	fires(t, "look", 1, "the certificate that 127.0.0.1:7895 (tls) shows is good until",
		"have livekit read it: restart it")
	writeCalls(t, strings.Replace(text, "  tls_port: 7895", "  tls_port: 7895\n  external_tls: true", 1))
	restartCalls(t)
	fires(t, "look", 0, "relays ipv4 203.0.113.10 (udp, tcp)")
	writeCalls(t, strings.Replace(text, FirstPublic.String(), "203.0.113.99", 1))
	restartCalls(t)
	fires(t, "look", 1, "tells callers 203.0.113.99, ", "and the public address is "+FirstPublic.String())
}

// TestCallsKeys holds that the keys of a LiveKit are read where the step says they are,
// and that it says where they are else.
func TestCallsKeys(t *testing.T) {
	calls(t, Calls, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, Calls.Unit)
	file := Calls.File + ".keys"
	must(t, server.WriteFile(file, "another: "+CallSecret+"\n", 0o600))
	shell(t, "chown synapse: "+file)
	t.Cleanup(func() { must(t, os.Remove(server.path(file))) })
	own := Calls.conf("node_ip: " + FirstPublic.String())
	writeCalls(t, strings.Replace(own, "keys:\n  element_call: "+CallSecret, "key_file: "+file, 1))
	restartCalls(t)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+lookCalls("")+
		strings.Replace(lookCalls(" keys="+file), "look", "look-there", 1))
	idle(t, FirstPublic)
	fires(t, "look", 1, "its keys are not in it: key_file is "+file, "write keys="+file+" behind the file in the step")
	fires(t, "look-there", 0, "unchanged: ipv4 203.0.113.10 (")
	if mode := shell(t, "stat -c %a "+file); !strings.HasSuffix(mode, "0") {
		t.Errorf("others may read it: %s", mode)
	}
	restartCalls(t) // Which refuses a file that others may read
	fires(t, "look-there", 0, "unchanged: ipv4 203.0.113.10 (")
	inEnvironment(t, "LIVEKIT_KEYS=third: "+CallSecret)
	writeCalls(t, own)
	fires(t, "look", 1, "401 Unauthorized to the keys of "+Calls.File, "("+Calls.Unit+" has LIVEKIT_KEYS beside the file)",
		"systemctl cat "+Calls.Unit+" shows where it stands")
	writeCalls(t, strings.Replace(own, "keys:\n  element_call: "+CallSecret+"\n", "", 1))
	restartCalls(t)
	fires(t, "look", 1, "its keys are not in it", "those of LIVEKIT_KEYS, --keys and --key-file cannot be seen from here")
}

// inEnvironment starts LiveKit with a variable.
func inEnvironment(t *testing.T, variable string) {
	t.Helper()
	must(t, server.WriteFile("/etc/systemd/system/"+Calls.Unit+".d/variable.conf",
		fmt.Sprintf("[Service]\nEnvironment=%q\n", variable), 0o644))
	shell(t, "systemctl daemon-reload")
	restartCalls(t)
}

// TestCallsEnvironment holds that what goes before the file of a LiveKit is named.
func TestCallsEnvironment(t *testing.T) {
	calls(t, Calls, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, Calls.Unit)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+lookCalls(""))
	idle(t, FirstPublic)
	fires(t, "look", 0, "unchanged: ipv4 203.0.113.10 (")
	inEnvironment(t, "NODE_IP=203.0.113.99")
	fires(t, "look", 1, "tells callers 203.0.113.99, ", "("+Calls.Unit+" has NODE_IP beside the file)")
	inEnvironment(t, "LIVEKIT_RTC_NODE_IP=203.0.113.99")
	fires(t, "look", 1, "tells callers 203.0.113.99, ", "("+Calls.Unit+" has LIVEKIT_RTC_NODE_IP beside the file)")
	inEnvironment(t, "LIVEKIT_CONFIG="+Calls.conf("node_ip: 203.0.113.98"))
	fires(t, "look", 1, "tells callers 203.0.113.98, ", "("+Calls.Unit+" has LIVEKIT_CONFIG beside the file)")
	inEnvironment(t, "NODE_IP=") // Which is heeded, empty as it is
	fires(t, "look", 1, "tells callers "+Private.String()+", ", "("+Calls.Unit+" has NODE_IP beside the file)")
}

// TestCallsAskThemselves holds what a LiveKit does that is to find its address out for
// itself and has one in its command line too: the latter does not count, and nothing is
// to be done about it.
func TestCallsAskThemselves(t *testing.T) {
	both := Calls
	both.Flags = "--node-ip 203.0.113.99"
	calls(t, both, "stun_servers: ["+stuns[0].Addr().String()+"]", netip.Addr{})
	unlimited(t, Calls.Unit)
	writeCalls(t, strings.Replace(both.conf("stun_servers: ["+stuns[0].Addr().String()+"]"), "use_external_ip: false",
		"use_external_ip: true", 1))
	restartCalls(t)
	rightCall(t, FirstPublic, FirstPublic)
	rule := ruleCalls(Calls, " always drain=1s")
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+rule, FirstPublic)
	if out := shell(t, "netwatch grant 2>&1"); strings.Contains(out, "flag") {
		t.Errorf("grant complains, or leaves the flag out:\n%s", out)
	}
	to := Public(10)
	must(t, world.SetPublic(t.Context(), to))
	rightCall(t, to, to)
	idle(t, to)
	says(t, "netwatch history", "verify livekit "+Calls.File+": unchanged: ipv4 "+to.String()+" (")
}
