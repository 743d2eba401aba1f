package servers

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"netwatch"
)

// Each server is found with the file that its command line and its environment say, and
// with none where something else says our address.
func TestStartFile(t *testing.T) {
	there := func(name string) bool { return !strings.HasPrefix(name, "/opt/eturnal") }
	for name, cases := range map[string]map[string]string{
		"livekit": {
			"livekit-server --config /a.yml": "/a.yml", "livekit-server --config=/b/../a.yml --node-ip 203.0.113.5": "/a.yml",
			"livekit-server": "without the name", "livekit-server --config a.yml": "started with a.yml",
			"livekit-server --config /x --config /a.yml": "/a.yml", "livekit-server --config": "without the name",
			"livekit-server --config-body x":                     "--config-body says",
			"NODE_IP=203.0.113.5 livekit-server --config /a.yml": "NODE_IP says",
			"NODE_IP= livekit-server --config /a.yml":            "/a.yml",
		},
		"eturnal": {
			"eturnalctl foreground": "/etc/eturnal.yml", "ETURNAL_ETC_DIR=/srv eturnalctl foreground": "/srv/eturnal.yml",
			"ETURNAL_RELAY_IPV4_ADDR=203.0.113.5 eturnalctl foreground": "ETURNAL_RELAY_IPV4_ADDR says",
		},
		"ejabberd": {
			"ejabberdctl foreground": "/etc/ejabberd/ejabberd.yml", "ejabberdctl --config-dir /srv live": "/srv/ejabberd.yml",
			"EJABBERD_CONFIG_PATH=/e.yml CONFIG_DIR=/x ejabberdctl foreground":            "/e.yml",
			"/opt/ejabberd-23.10/bin/ejabberdctl foreground":                              "/opt/ejabberd/conf/ejabberd.yml",
			"EJABBERD_CONFIG_PATH=/e.yml ejabberdctl -f /f.yml --config-dir /srv started": "/f.yml",
		},
		"janus": {
			"janus --daemon": "/etc/janus/janus.jcfg", "janus -F /srv": "/srv/janus.jcfg", "janus -C /j.cfg -F /x": "/j.cfg",
			"janus --nat-1-1=203.0.113.5": "--nat-1-1 says",
		},
		"rtpengine": {
			"rtpengine -f --config-file /r.conf": "/r.conf", "rtpengine": "/etc/rtpengine/rtpengine.conf",
			"rtpengine --config-file=/r.conf -i 10.0.0.1!203.0.113.5": "-i says",
		},
	} {
		server, err := Named(name)
		if err != nil || !server.IsFound() {
			t.Fatal(name, err)
		}
		for line, want := range cases {
			words, env := strings.Fields(line), map[string]string{}
			for len(words) > 0 && strings.Contains(words[0], "=") {
				key, value, _ := strings.Cut(words[0], "=")
				env[key], words = value, words[1:]
			}
			file, err := server.Start.File(words, env, there)
			if err != nil {
				file = err.Error()
			}
			if !strings.Contains(file, want) || (err == nil) != (file == want) {
				t.Errorf("%s: %s, not %s", line, file, want)
			}
		}
	}
}

// The steps of each server, in the order in which they are done.
func TestSteps(t *testing.T) {
	for name, want := range map[string][]string{
		"livekit":   {"rotate livekit /f", "restart u.service drain=5s", "verify livekit /f"},
		"coturn":    {"rotate coturn /f", "restart u.service", "verify coturn /f"},
		"ejabberd":  {"rotate ejabberd /f", "reload-or-restart u.service"},
		"eturnal":   {"rotate eturnal /f", "reload-or-restart u.service"},
		"janus":     {"rotate janus /f", "restart u.service"},
		"rtpengine": {"rotate rtpengine /f", "restart u.service"},
	} {
		server, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		if server.Proven() && len(want) < 3 {
			want = append(want, "verify "+name+" /f")
		}
		if got := server.Steps("/f", "u.service", nil, false); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	itself := []byte("keys: {calls: hidden}\nrtc:\n  use_external_ip: true\n")
	want := []string{`restart u\\x2d.service always drain=5s`, "verify livekit '/f f'"}
	if got := livekit.Steps("/f f", `u\x2d.service`, itself, false); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	want = []string{"rotate ejabberd /f", "reload-or-restart u.service", "reload-or-restart u.service"}
	// Without a proof nobody would see that a reload has lost a port.
	none := []byte("hosts: [a]\nmodules: {mod_stun_disco: {}}\nlisten:\n" +
		"  - {port: 3478, module: ejabberd_stun, transport: udp, use_turn: true}\n")
	if got := ejabberd.Steps("/f", "u.service", none, false); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	want = []string{"rotate janus /f", "restart u.service always"}
	if got := janus.Steps("/f", "u.service", nil, true); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What no address could be put into is known before anything is written.
func TestTakes(t *testing.T) {
	own := func(f netwatch.Family) netip.Addr {
		return map[netwatch.Family]netip.Addr{netwatch.IPv4: netip.MustParseAddr("192.168.50.2")}[f]
	}
	stun := "listen:\n  -\n    module: ejabberd_stun\n    use_turn: true\n"
	for _, c := range []struct{ server, conf, wrong string }{
		{"livekit", "rtc:\n  udp_port: 7882\n", ""},
		{"livekit", "rtc:\n  use_external_ip: true\n", ""},
		{"livekit", "rtc:\n  node_ip: 203.0.113.5\n", ""},
		{"livekit", "rtc: &a\n  node_ip: *a\n", "line "},
		{"livekit", "rtc:\n  node_ip: {{ ip }}\n", "line 2"},
		{"ejabberd", stun, ""},
		{"ejabberd", "listen: []\n", "nothing in it lends relays"},
		{"eturnal", "eturnal:\n  secret: x\n", ""},
		{"janus", "nat: {\n}\n", ""},
		{"rtpengine", "[rtpengine]\ninterface = any\n", "the public address is not added"},
		{"rtpengine", "[rtpengine]\ninterface = 192.168.50.2\n", ""},
		{"rtpengine", "[other]\n", "rtpengine.interface"},
	} {
		server, err := Named(c.server)
		if err != nil {
			t.Fatal(err)
		}
		err = server.Takes([]byte(c.conf), own)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s of %q: %v", c.server, c.conf, err)
		}
	}
}

// A router has to hand these ports on.
func TestPorts(t *testing.T) {
	for _, c := range []struct{ server, conf, want string }{
		{"livekit", "", "7880/tcp 7881/tcp"},
		{
			"livekit", "port: 7890\nrtc: {tcp_port: 0, port_range_start: 49153, port_range_end: 49193}\n" +
				"turn: {enabled: true, tls_port: 5349, udp_port: 3478}\n", "7890/tcp 49153-49193/udp 5349/tcp 3478/udp",
		},
		{"livekit", "port: no\nrtc: {udp_port: 7882}\n", "7880/tcp 7881/tcp 7882/udp"},
		{
			"ejabberd", "listen:\n  - {port: 5222, module: ejabberd_c2s}\n  - {module: ejabberd_stun, turn_max_port: 50000}\n",
			"3478/udp 49152-50000/udp",
		},
		{"eturnal", "eturnal: {}\n", "3478/udp 3478/tcp 49152-65535/udp"},
		{"eturnal", "eturnal:\n  listen:\n    - {port: 5349, transport: tls}\n", "5349/tcp 49152-65535/udp"},
		{"janus", "media: {\n\trtp_port_range = \"20000-40000\"\n}\n", "20000-40000/udp"},
		{"janus", "nat: {\n}\n", ""},
		{"janus", "media: { rtp_port_range = \"22/tcp, and 1-65535\"; }\n", ""},
		{"rtpengine", "[rtpengine]\nport-min = 22/tcp, and 1\nport-max = 65535\n", ""},
		{"rtpengine", "[rtpengine]\nport-min = 30000\nport-max = 40000\n", "30000-40000/udp"},
	} {
		server, err := Named(c.server)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(server.Ports([]byte(c.conf)), " "); got != c.want {
			t.Errorf("%s of %q: %s", c.server, c.conf, got)
		}
	}
	turn := "turn:\n  enabled: true\n  tls_port: 5349\n  cert_file: /c.pem\n  key_file: /k.pem\n"
	for conf, want := range map[string]string{
		turn: "/c.pem /k.pem", turn + "  external_tls: true\n": " ", strings.Replace(turn, "true", "false", 1): " ",
	} {
		if file, key := livekit.Certificate([]byte(conf)); file+" "+key != want {
			t.Errorf("%s: %s, %s", conf, file, key)
		}
	}
}

// A step that could only fail, because nothing in the file says how to ask, is none.
func TestCheckProof(t *testing.T) {
	const stun = "hosts: [h]\nlisten: [{port: 3478, transport: udp, module: ejabberd_stun, use_turn: true}]\n"
	for _, c := range []struct{ server, conf, says string }{
		{"ejabberd", stun + "modules: {mod_stun_disco: {}}\n", "mod_stun_disco has no secret in it"},
		{"ejabberd", stun + "modules: {mod_stun_disco: {secret: hidden}}\n", ""},
		{"ejabberd", "not: understood\n", ""},
		{"eturnal", "eturnal: {listen: [{port: 3478}]}\n", "neither a secret nor credentials"},
		{"coturn", "lt-cred-mech\nuserdb=/var/lib/turn/turndb\n", "neither static-auth-secret nor user"},
		{"coturn", "use-auth-secret\nstatic-auth-secret=x\n", ""},
		{"livekit", "key_file: /etc/keys\n", ErrNoKeys.Error()},
		{"livekit", "keys: {calls: hidden}\n", ""},
		{"janus", "nat: {\n}\n", ""},
	} {
		server, err := Named(c.server)
		if err != nil {
			t.Fatal(err)
		}
		err = server.CheckProof([]byte(c.conf))
		if err == nil && c.says != "" || err != nil && (c.says == "" || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s with %q: %v", c.server, c.conf, err)
		}
		proves := slices.ContainsFunc(server.Steps("/f", "u.service", []byte(c.conf), false),
			func(step string) bool { return strings.HasPrefix(step, "verify ") })
		if proves != (err == nil && server.Proven()) {
			t.Errorf("%s with %q is proven: %v", c.server, c.conf, proves)
		}
	}
}

// A server that is a value of any file is found by nobody.
func TestIsFound(t *testing.T) {
	for name, want := range map[string]bool{"livekit": true, "yaml": false} {
		if s, err := Named(name); err != nil || s.IsFound() != want {
			t.Errorf("%s is found: %v, %v", name, s.IsFound(), err)
		}
	}
}
