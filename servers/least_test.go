package servers

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"netwatch"
	_ "netwatch/lab/drawn" // Alike in every run
)

// A leastCase is a file of a server, and what becomes of it.
type leastCase struct {
	name, server, in, public, own string
	options                       Options
	out, said                     string
}

const (
	four, six = "198.51.100.7", "198.51.100.7 2001:db8::7"
	stunItem  = "listen:\n  - port: 5222\n    module: ejabberd_c2s\n  -\n    port: 3478\n    module: ejabberd_stun\n"
)

var leastCases = []leastCase{
	{"an address", "livekit", "rtc:\n  node_ip: 203.0.113.5\n", six, own46, nil, "rtc:\n  node_ip: 198.51.100.7\n", ""},
	{
		"no key", "livekit", "rtc:\n  tcp_port: 7881\n", six, own46, nil,
		"rtc:\n  node_ip: 198.51.100.7\n  tcp_port: 7881\n", "",
	},
	{"an empty key", "livekit", "rtc:\n  node_ip: \"\"\n", six, own46, nil, "rtc:\n  node_ip: \"198.51.100.7\"\n", ""},
	{"the address is this machine's", "livekit", "rtc:\n  tcp_port: 7881\n", four, four, nil, "", ""},
	{"no IPv4", "livekit", "rtc:\n  tcp_port: 7881\n", "2001:db8::7", "2001:db8::7", nil, "", ""},
	{"464XLAT", "livekit", "rtc:\n  tcp_port: 7881\n", six, "192.0.0.2 2001:db8::7", nil, "", "464XLAT"},
	{"464XLAT", "eturnal", "eturnal:\n  secret: x\n", six, "192.0.0.2 2001:db8::7", nil, "", "464XLAT"},
	{"464XLAT", "rtpengine", "[rtpengine]\ninterface=192.0.0.2\n", six, "192.0.0.2 2001:db8::7", nil, "", "464XLAT"},
	{"no IPv4 now", "livekit", "rtc:\n  node_ip: 203.0.113.5\n", "2001:db8::7", "2001:db8::7", nil, "", ""},
	{"IPv6", "livekit", "rtc: {node_ip: '2001:db8::5'}\n", six, own46, nil, "rtc: {node_ip: '2001:db8::7'}\n", ""},
	{
		"both", "livekit", "rtc:\n  node_ip: 203.0.113.5,2001:db8::5\n", six, own46, nil,
		"rtc:\n  node_ip: 198.51.100.7,2001:db8::7\n", "",
	},
	{
		"both, one known", "livekit", "rtc:\n  node_ip: 203.0.113.5,2001:db8::5\n", four, own4, nil,
		"rtc:\n  node_ip: 198.51.100.7,2001:db8::5\n", "",
	},
	{
		"it asks itself", "livekit", "rtc:\n  use_external_ip: true\n  node_ip: 203.0.113.5\n", four, own4, nil, "",
		"use_external_ip is true",
	},
	{
		"it does not ask", "livekit", "rtc:\n  use_external_ip: false\n", four, own4, nil,
		"rtc:\n  node_ip: 198.51.100.7\n  use_external_ip: false\n", "",
	},

	{
		"an address", "eturnal", "eturnal:\n  relay_ipv4_addr: \"203.0.113.5\"\n", six, own46, nil,
		"eturnal:\n  relay_ipv4_addr: \"198.51.100.7\"\n", "",
	},
	{
		"both", "eturnal", "eturnal:\n  relay_ipv4_addr: \"203.0.113.5\"\n  relay_ipv6_addr: \"2001:db8::5\"\n", six,
		own46, nil,
		"eturnal:\n  relay_ipv4_addr: \"198.51.100.7\"\n  relay_ipv6_addr: \"2001:db8::7\"\n", "",
	},
	{
		"IPv6 alone", "eturnal", "eturnal:\n  relay_ipv4_addr: 203.0.113.5\n  relay_ipv6_addr: 2001:db8::5\n", six, own46,
		Options{"families": "ipv6"},
		"eturnal:\n  relay_ipv4_addr: 203.0.113.5\n  relay_ipv6_addr: 2001:db8::7\n", "",
	},
	{
		"IPv6 is off", "eturnal", "eturnal:\n  relay_ipv4_addr: 203.0.113.5\n  relay_ipv6_addr: none\n", six, own46,
		Options{"families": "ipv4,ipv6"},
		"eturnal:\n  relay_ipv4_addr: 198.51.100.7\n  relay_ipv6_addr: none\n", "",
	},
	{
		"relays are off", "eturnal", "eturnal:\n  relay_ipv4_addr: none\n", six, own46, nil, "",
		"relay_ipv4_addr is none, and stays so",
	},
	{
		"no key", "eturnal", "eturnal:\n  secret: x\n", six, own46, nil,
		"eturnal:\n  relay_ipv4_addr: 198.51.100.7\n  secret: x\n", "",
	},
	{
		"a family more", "eturnal", "eturnal:\n  relay_ipv4_addr: 203.0.113.5\n", six, own46,
		Options{"families": "ipv4,ipv6"},
		"eturnal:\n  relay_ipv6_addr: 2001:db8::7\n  relay_ipv4_addr: 198.51.100.7\n", "",
	},

	{
		"an address", "ejabberd", stunItem + "    use_turn: true\n    turn_ipv4_address: \"203.0.113.5\"\n", six, own46,
		nil,
		stunItem + "    use_turn: true\n    turn_ipv4_address: \"198.51.100.7\"\n", "",
	},
	{
		"two listeners", "ejabberd", "listen:\n- {module: ejabberd_stun, use_turn: true}\n- {module: ejabberd_stun}\n" +
			"- {module: ejabberd_stun, use_turn: true, turn_ipv4_address: 203.0.113.5}\n", six, own46, nil,
		"listen:\n- {module: ejabberd_stun, use_turn: true}\n- {module: ejabberd_stun}\n" +
			"- {module: ejabberd_stun, use_turn: true, turn_ipv4_address: 198.51.100.7}\n", "",
	},
	{
		"no key", "ejabberd", stunItem + "    use_turn: true\n", six, own46, nil,
		strings.Replace(stunItem, "    port: 3478\n", "    turn_ipv4_address: 198.51.100.7\n    port: 3478\n", 1) +
			"    use_turn: true\n", "",
	},

	{
		"an address", "janus", "nat: {\n\tnat_1_1_mapping = \"203.0.113.5\"\n}\n", six, own46, nil,
		"nat: {\n\tnat_1_1_mapping = \"198.51.100.7\"\n}\n", "",
	},
	{
		"no key", "janus", "nat: {\n\tnice_debug = false\n}\n", six, own46, nil,
		"nat: {\n\tnat_1_1_mapping = \"198.51.100.7\";\n\tnice_debug = false\n}\n", "",
	},
	{
		"two of a family", "janus", "nat: { nat_1_1_mapping = \"203.0.113.5,203.0.113.6\" }\n", six, own46, nil, "",
		"which of its ipv4 addresses is 198.51.100.7 now is not certain",
	},
	{"two, one ours", "janus", "nat: { nat_1_1_mapping = \"198.51.100.7,203.0.113.6\" }\n", six, own46, nil, "", ""},

	{
		"an address", "rtpengine", "[rtpengine]\ninterface = 192.168.50.10!203.0.113.5\n", six, own46, nil,
		"[rtpengine]\ninterface = 192.168.50.10!198.51.100.7\n", "",
	},
	{
		"names", "rtpengine",
		"[rtpengine]\ninterface = in/10.0.0.1;out/192.168.50.10!203.0.113.5;out/fd50::10!2001:db8::5\n", six, own46, nil,
		"[rtpengine]\ninterface = in/10.0.0.1;out/192.168.50.10!198.51.100.7;out/fd50::10!2001:db8::7\n", "",
	},
	{
		"no public part", "rtpengine", "[rtpengine]\ninterface=192.168.50.10\n", six, own46, nil,
		"[rtpengine]\ninterface=192.168.50.10!198.51.100.7\n", "",
	},
	{
		"an empty public part", "rtpengine", "[rtpengine]\ninterface=192.168.50.10!\n", six, own46, nil,
		"[rtpengine]\ninterface=192.168.50.10!198.51.100.7\n", "",
	},
	{
		"which one asked", "rtpengine", "[rtpengine]\ninterface=a/10.0.0.1;b/192.168.50.10\n", six, own46, nil,
		"[rtpengine]\ninterface=a/10.0.0.1;b/192.168.50.10!198.51.100.7\n", "",
	},
	{
		"several public ones", "rtpengine", "[rtpengine]\ninterface=10.0.0.1!203.0.113.4;192.168.50.10!203.0.113.5\n",
		six, own46, nil,
		"[rtpengine]\ninterface=10.0.0.1!203.0.113.4;192.168.50.10!198.51.100.7\n", "",
	},
	{
		"several, none ours", "rtpengine", "[rtpengine]\ninterface=10.0.0.1!203.0.113.4;10.0.0.2!203.0.113.5\n", six,
		own46, nil, "",
		"which of its 2 public addresses is 198.51.100.7 now is not certain",
	},
	{
		"any", "rtpengine", "[rtpengine]\ninterface = any\n", six, own46, nil, "",
		"any stands for addresses of this machine, and callers are told those; write 192.168.50.10!198.51.100.7 in its place",
	},
	{
		"an interface by its name", "rtpengine", "[rtpengine]\ninterface = a/10.0.0.1;b/10.0.0.2;c/eth0\n", six, own46,
		nil, "",
		"c/eth0 stands for addresses of this machine, and callers are told those; write c/192.168.50.10!198.51.100.7 in",
	},
	{
		"IPv6 alone", "rtpengine", "[rtpengine]\ninterface = fd50::10\n", six, own46, nil, "",
		"which address of this machine it belongs to is not certain",
	},
	{
		"any, as somebody else's", "rtpengine", "[rtpengine]\ninterface = any!203.0.113.5\n", six, own46, nil,
		"[rtpengine]\ninterface = any!198.51.100.7\n", "",
	},
	{"this machine's", "rtpengine", "[rtpengine]\ninterface = any\n", four, four, nil, "", ""},

	{"a value", "yaml", "a: {b: 203.0.113.5}\n", six, own46, Options{"key": "a.b"}, "a: {b: 198.51.100.7}\n", ""},
	{"IPv6", "yaml", "a: \"\"\n", six, own46, Options{"key": "a", "family": "ipv6"}, "a: \"2001:db8::7\"\n", ""},
	{
		"not known", "yaml", "a: 2001:db8::5\n", four, own4,
		Options{"key": "a", "family": "ipv6"},
		"",
		"no public ipv6 address is known",
	},
	{
		"the same in other letters", "yaml", "a: 2001:DB8:0::7\n", six, own46,
		Options{"key": "a", "family": "ipv6"},
		"",
		"",
	},
	{
		"a value", "ini", "[a]\nb = 203.0.113.5 ; here\n", six, own46,
		Options{"key": "a.b"},
		"[a]\nb = 198.51.100.7 ; here\n", "",
	},
	{"a value", "env", "A=\"\"\n", six, own46, Options{"key": "A"}, "A=\"198.51.100.7\"\n", ""},
}

// What a file becomes is what it stays, and the server says what it is then.
func TestServersLeastChange(t *testing.T) {
	for _, c := range leastCases {
		t.Run(c.server+" "+c.name, func(t *testing.T) {
			server, err := Named(c.server)
			if err != nil {
				t.Fatal(err)
			}
			w := wanted(c.public, c.own, "")
			w.Options = c.options
			if c.out == "" {
				c.out = c.in
			}
			for _, in := range []string{c.in, c.out} {
				out, word, err := server.Rewrite([]byte(in), w)
				if err != nil || string(out) != c.out || !strings.Contains(word, c.said) || (word == "") != (c.said == "") {
					t.Errorf("%q becomes %v\n%s%q, and should\n%s%q", in, err, out, word, c.out, c.said)
				}
			}
			said := list(server.Advertised([]byte(c.out), c.options))
			for _, a := range w.Public {
				text, several := a.Address.String(), c.said != "" || c.name == "several public ones"
				if strings.Contains(c.out, text) && !strings.Contains(said, text) && !several {
					t.Errorf("it advertises %s", said)
				}
			}
		})
	}
}

// What is no address stays, with its place.
func TestServersRefuse(t *testing.T) {
	for _, c := range []struct {
		server, in string
		options    Options
		said       string
	}{
		{"livekit", "rtc:\n  node_ip: 999.1.1.1\n", nil, "line 2, column 12: the value is neither an address nor empty"},
		{"livekit", "rtc:\n  node_ip: ${NODE_IP}\n", nil, "line 2, column 12: the value is neither"},
		{"livekit", "rtc:\n  node_ip: \"{{ ip }}\"\n", nil, "line 2, column 13: the value is neither"},
		{"livekit", "rtc:\n  node_ip: 203.0.113.5,2001:db8::5\n", nil, "of two addresses, and this one is 1.12"},
		{"livekit", "rtc:\n  node_ip: 203.0.113.5,203.0.113.6\n", nil, "line 2, column 12: LiveKit takes one address of"},
		{"livekit", "rtc:\n  node_ip: 203.0.113.5,\n", nil, "line 2, column 12: the value is neither"},
		{"livekit", "rtc:\n  node_ip: [203.0.113.5]\n", nil, "line 2, column 12: "},
		{"livekit", "rtc:\n  node_ip: {ipv4: 203.0.113.5}\n", nil, "line 2, column 12: "},
		{"livekit", "port: 7880\n", nil, "line 1, column 1: here is no rtc"},
		{"livekit", "", nil, "there is nothing in it"},
		{"eturnal", "eturnal:\n  relay_ipv4_addr: turn.example.org\n", nil, "line 2, column 20: the value is neither"},
		{"ejabberd", stunItem, nil, "nothing in it lends relays"},
		{"ejabberd", "hosts: [a]\n", nil, "nothing in it lends relays"},
		{
			"ejabberd", "listen:\n" + strings.Repeat("- {module: ejabberd_stun, use_turn: yes}\n", 400), nil,
			"more than 16 listeners",
		},
		{"janus", "nat: { nat_1_1_mapping = \"a,203.0.113.5\" }\n", nil, "line 1, column 27: the value is neither"},
		{"janus", "general: {}\n", nil, "there is no group nat"},
		{"rtpengine", "[rtpengine]\ninterface = 10.0.0.1!home\n", nil, "line 2, column 13: the value is neither"},
		{"rtpengine", "[other]\ninterface = 10.0.0.1\n", nil, "rtpengine.interface: the key is not there"},
		{"yaml", "a: x\n", Options{"key": "a"}, "line 1, column 4: the value is neither"},
		{"yaml", "a: 1\n", Options{"key": "b"}, "b: the key is not there"},
		{"yaml", "a: *x\n", Options{"key": "a"}, "line 1, column 1: from here on it is not YAML"},
		{"ini", "[a]\nb = %(home)s\n", Options{"key": "a.b"}, "line 2, column 5: the value is neither"},
		{"env", "A=::%x;B=1\n", Options{"key": "A"}, "line 1, column 3: the value is neither"},
		{"janus", "nat: { nat_1_1_mapping = \"fe80::1%x\" }\n", nil, "line 1, column 27: the value is neither"},
		{"env", "A=$(ip)\n", Options{"key": "A"}, "line 1, column 3: the value is neither"},
	} {
		server, err := Named(c.server)
		if err != nil {
			t.Fatal(err)
		}
		w := wanted(four, own4, "")
		w.Options, w.Version = c.options, Version{1, 12}
		out, _, err := server.Rewrite([]byte(c.in), w)
		if err == nil || out != nil || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%s %q: %q, %v, and should say %q", c.server, c.in, out, err, c.said)
		}
		w.Public = nil
		if _, _, err := server.Rewrite([]byte(c.in), w); err == nil {
			t.Errorf("%s is rewritten without an address", c.server)
		}
	}
}

// TestServersProperties wants of any file and any server that a rewrite done twice is one,
// that it writes our addresses alone, and that what callers get is right or as before.
func TestServersProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(leastCases).Draw(t, "case")
		server, err := Named(c.server)
		if err != nil {
			t.Fatal(err)
		}
		others := []string{
			"203.0.113.5", "2001:db8::5", "192.168.50.10", "fd50::10", "", "0.0.0.0", "198.51.100.7", "x", "203.0.113.5 # c",
		}
		in := strings.ReplaceAll(c.in, "203.0.113.5", rapid.SampledFrom(others).Draw(t, "address"))
		w := wanted(rapid.SampledFrom(choicesPublic).Draw(t, "known"), rapid.SampledFrom(choicesOwn).Draw(t, "own"), "")
		w.Options = c.options
		out, _, err := server.Rewrite([]byte(in), w)
		if err != nil {
			return
		}
		if again, _, err := server.Rewrite(out, w); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q becomes %q, and then %q: %v", in, out, again, err)
		}
		was := server.Advertised([]byte(in), c.options)
		for _, a := range server.Advertised(out, c.options) {
			if a != w.Public[netwatch.FamilyOf(a)].Address && !has(was, a) {
				t.Fatalf("%q becomes %q, which has %s", in, out, a)
			}
		}
	})
}

func has(all []netip.Addr, a netip.Addr) bool {
	for _, o := range all {
		if o == a {
			return true
		}
	}
	return false
}
