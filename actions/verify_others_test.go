package actions

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/systemd"
	"netwatch/turn/turntest"
	"netwatch/whip/whiptest"
)

// verifyOther runs the step of a server over UDP, with a file that has PORT for its port.
func verifyOther(t *testing.T, server, conf string, port uint16, known ...string) netwatch.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(conf, "PORT", fmt.Sprint(port))), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := parseVerify(Env{}, []string{server, file})
	if err != nil {
		t.Fatal(err)
	}
	v.time, v.moving = 800*time.Millisecond, time.Second
	v.local = func(netwatch.Family, netip.Addr) netip.Addr { return netip.MustParseAddr("127.0.0.1") }
	v.units = func(context.Context, netwatch.Job) []systemd.State { return nil }
	job := netwatch.Job{Confirmed: netwatch.Addresses{}}
	for _, text := range known {
		a := netip.MustParseAddr(text)
		job.Confirmed[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
	}
	return v.Do(t.Context(), job)
}

const (
	eturnalConf = "eturnal:\n  realm: " + turntest.Realm + "\n  secret: " + turntest.Secret +
		"\n  relay_ipv4_addr: 203.0.113.7\n  listen:\n  - {port: PORT, transport: udp}\n"
	ejabberdConf = "hosts: [" + turntest.Realm + "]\nmodules:\n  mod_stun_disco:\n    secret: " + turntest.Secret +
		"\nlisten:\n- port: PORT\n  transport: udp\n  module: ejabberd_stun\n  use_turn: true\n" +
		"  turn_ipv4_address: 203.0.113.7\n"
)

// What is wrong with eturnal and ejabberd is said in the words of their files.
func TestVerifyOthers(t *testing.T) {
	off := func(r *stun.Message, _ bool) []stun.Setter { return turntest.Refusal(r, codeNotAllowed, "n") }
	open := func(r *stun.Message, _ bool) []stun.Setter { return turntest.Lends(r, "203.0.113.7") }
	code := func(c stun.ErrorCode) turntest.Answer {
		return turntest.Proper(t, "", func(r *stun.Message) []stun.Setter { return turntest.Refusal(r, c, "n") })
	}
	right, wrong := turntest.Proper(t, "203.0.113.7", nil), turntest.Proper(t, "203.0.113.9", nil)
	without := func(conf string) string { return strings.Replace(conf, "secret: "+turntest.Secret, "", 1) }
	for name, c := range map[string]struct {
		answer       turntest.Answer
		server, conf string
		known        string
		want         []string
	}{
		"right": {right, "eturnal", eturnalConf, "203.0.113.7", []string{"ipv4 203.0.113.7 (udp)"}},
		"not reloaded": {
			wrong, "eturnal", eturnalConf, "203.0.113.7",
			[]string{"relays over 203.0.113.9", "has the right relay_ipv4_addr, which eturnal reads when", "reload it"},
		},
		"not rotated": {
			right, "eturnal", eturnalConf, "203.0.113.8",
			[]string{"relays over 203.0.113.7", "relay_ipv4_addr in ", "have a step `rotate eturnal ", "and a reload before"},
		},
		"off": {off, "eturnal", eturnalConf, "203.0.113.7", []string{"answered 405", "a secret are in "}},
		"no secret": {
			right, "eturnal", without(eturnalConf), "203.0.113.7",
			[]string{"neither a secret nor credentials", "ETURNAL_SECRET"},
		},
		"no port left": {
			code(stun.CodeInsufficientCapacity), "eturnal", eturnalConf, "203.0.113.7",
			[]string{"no port is free between relay_min_port and relay_max_port"},
		},
		"no such family": {
			code(stun.CodeAddrFamilyNotSupported), "eturnal", eturnalConf, "203.0.113.7",
			[]string{"answered 440", "see relay_ipv6_addr in ", "and reload it"},
		},
		"open": {
			open, "ejabberd", ejabberdConf, "203.0.113.7",
			[]string{"lends relays to everyone", "see that auth_type: anonymous is not in ", "and reload it; or ss -lpn"},
		},
		"no secret of ejabberd": {
			right, "ejabberd", without(ejabberdConf), "203.0.113.7",
			[]string{"mod_stun_disco has no secret in it", "write secret: and a long random text below mod_stun_disco:"},
		},
		"nowhere": {
			right, "ejabberd", strings.Replace(ejabberdConf, "use_turn: true", "use_turn: false", 1), "203.0.113.7",
			[]string{"has it listen nowhere", "ejabberd_stun has none with use_turn: true"},
		},
		"a stranger": {
			right, "ejabberd", strings.Replace(ejabberdConf, "hosts: [", "hosts: [x.", 1), "203.0.113.7",
			[]string{`of realm "example.org", and not the one of `, "than is in the file now: reload it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := turntest.New(t, c.answer)
			wantTurn(t, verifyOther(t, c.server, c.conf, s.Addr.Port(), strings.Fields(c.known)...), c.want...)
		})
	}
}

// A listener that has an address of its own is asked there.
func TestVerifyOthersAt(t *testing.T) {
	s := turntest.New(t, turntest.Proper(t, "203.0.113.7", nil))
	conf := strings.Replace(eturnalConf, "{port: PORT", "{ip: 127.0.0.3, port: PORT", 1)
	wantTurn(t, verifyOther(t, "eturnal", conf, s.Addr.Port(), "203.0.113.7"), "nobody answers at 127.0.0.3:")
}

// lendsTo answers as LiveKit's TURN server does.
func lendsTo(name, password, at string) turntest.Answer {
	return func(r *stun.Message, signed bool) []stun.Setter {
		refusal := slices.Concat(turntest.Refusal(r, stun.CodeUnauthorized, "n")[:2],
			[]stun.Setter{stun.NewRealm("livekit"), stun.NewNonce("n")})
		var user stun.Username
		_ = user.GetFrom(r) // Or it has none
		if !signed || user.String() != name || stun.NewLongTermIntegrity(name, "livekit", password).Check(r) != nil {
			return refusal
		}
		return turntest.Lends(r, at)
	}
}

// The TURN server in LiveKit is asked with what a caller is told.
func TestVerifyLiveKitRelays(t *testing.T) {
	const node = "rtc: {node_ip: 203.0.113.7}\n"
	const link = `<turn%3A203.0.113.7%3A3478>; username="u"; credential="p"; rel="ice-server"`
	for name, c := range map[string]struct {
		link, at, more string
		want           []string
	}{
		"right": {link, "203.0.113.7", "", []string{"ipv4 203.0.113.7 (udp), relays ipv4 203.0.113.7 (udp)"}},
		"another address": {
			link, "203.0.113.9", "", []string{"(udp) relays over 203.0.113.9", "has the right node_ip, which LiveKit reads"},
		},
		"not told":          {"", "203.0.113.7", "", []string{"turn is enabled in ", "callers are not told of it"}},
		"other credentials": {strings.Replace(link, `"p"`, `"q"`, 1), "203.0.113.7", "", []string{"401", "restart it"}},
		"TLS too": {
			link, "203.0.113.7", "  tls_port: 1\n",
			[]string{"nobody answers at 127.0.0.1:1 (tls)", "can read cert_file and key_file below turn: in "},
		},
		"by another's TLS": {
			link, "203.0.113.7", "  tls_port: 1\n  external_tls: true\n", []string{"nobody answers at 127.0.0.1:1 (tcp)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls, relay := whiptest.New(t, "udp 203.0.113.7 1"), turntest.New(t, lendsTo("u", "p", c.at))
			calls.Link(c.link)
			active := []systemd.State{{ID: "livekit.service", Load: "loaded", Active: "active", Sub: "running"}}
			conf := fmt.Sprintf("%sturn:\n  enabled: true\n  udp_port: %d\n%s", node, relay.Addr.Port(), c.more)
			r := verifyLiveKit(t, calls.Addr, conf, active, "203.0.113.7")
			wantTurn(t, r, c.want...)
			if r.Dead != "" {
				t.Errorf("it is no dead LiveKit: %+v", r)
			}
		})
	}
}

// Keys that are elsewhere are read where the step says, or it says what to do.
func TestVerifyLiveKitKeys(t *testing.T) {
	s := whiptest.New(t, "udp 203.0.113.7 1")
	dir := t.TempDir()
	conf, keys := dir+"/livekit.yml", dir+"/keys"
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(words ...string) (netwatch.Result, *livekitProof) {
		l, err := parseLiveKit(Env{}, append([]string{conf}, words...))
		if err != nil {
			t.Fatal(err)
		}
		l.time, l.moving = 300*time.Millisecond, time.Second
		l.units = func(context.Context, netwatch.Job) []systemd.State {
			set := []string{"NODE_IP", "LIVEKIT_KEYS"}
			return []systemd.State{{ID: "l.service", Environ: set, Words: []string{"--node-ip=x"}}}
		}
		public := netwatch.Address{Address: netip.MustParseAddr("203.0.113.7")}
		return l.Do(t.Context(), netwatch.Job{Confirmed: netwatch.Addresses{netwatch.IPv4: public}}), l
	}
	write(conf, fmt.Sprintf("port: %d\nkey_file: %s\n", s.Addr.Port(), keys))
	write(keys, whiptest.Key+": "+whiptest.Secret+"\n")
	r, _ := verify()
	wantTurn(t, r, "its keys are not in it: key_file is "+keys, "write keys="+keys+" behind the file in the step")
	r, l := verify("keys=" + keys)
	wantTurn(t, r, "ipv4 203.0.113.7 (udp)")
	if n := l.Needs().Reads; len(n) != 2 || string(n[1]) != keys {
		t.Errorf("it needs %v", n)
	}
	write(keys, whiptest.Key+": another\n")
	r, _ = verify("keys=" + keys)
	wantTurn(t, r, "401 Unauthorized to the keys of "+keys+" (l.service has LIVEKIT_KEYS beside the file)")
	write(keys, whiptest.Secret)
	r, _ = verify("keys=" + keys)
	wantTurn(t, r, "of the keys: it is not YAML as LiveKit's key_file has it")
	r, _ = verify("keys=" + keys + ".none")
	wantTurn(t, r, "reading "+keys+".none", "no such file")
	s.Say("udp 203.0.113.9 1")
	write(keys, whiptest.Key+": "+whiptest.Secret+"\n")
	write(conf, fmt.Sprintf("port: %d\nrtc: {node_ip: 203.0.113.7}\n", s.Addr.Port()))
	r, _ = verify("keys=" + keys)
	wantTurn(t, r, "tells callers 203.0.113.9", "(l.service has --node-ip, NODE_IP beside the file)",
		"systemctl cat l.service")
	for _, words := range [][]string{{"keys=x"}, {"keys=/a", "keys=/b"}, {"key=/a"}} {
		if _, err := parseLiveKit(Env{}, append([]string{conf}, words...)); err == nil {
			t.Errorf("%v is understood", words)
		}
	}
}
