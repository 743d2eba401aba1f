package servers

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"netwatch/edit"
)

// At is when these offers are made.
var offeredAt = time.Unix(1_700_000_000, 0)

// What eturnal and ejabberd open with a file, and to whom.
func TestStunOffers(t *testing.T) {
	const turn = "  module: ejabberd_stun\n  use_turn: true\n"
	at := func(over Transport, port uint16, ip string) Listener {
		a, _ := netip.ParseAddr(ip)
		return Listener{over, port, a}
	}
	for name, c := range map[string]struct {
		server, conf string
		realm        string
		listeners    []Listener
		who          string
	}{
		"eturnal as it comes": {
			"eturnal", "eturnal:\n  listen:\n  - {ip: '::', port: 3478, transport: udp}\n  - {transport: tls}\n" +
				"  secret: s\n", "eturnal.net",
			[]Listener{at(UDP, 3478, ""), at(TLS, 5349, "")},
			"1700000060",
		},
		"eturnal with nothing": {
			"eturnal", "eturnal:\n  log_level: info\n", "eturnal.net",
			[]Listener{at(UDP, 3478, ""), at(TCP, 3478, "")},
			"nobody",
		},
		"an empty file": {"eturnal", "", "eturnal.net", []Listener{at(UDP, 3478, ""), at(TCP, 3478, "")}, "nobody"},
		"auto, and what is not for callers": {
			"eturnal", "eturnal:\n  realm: r\n  secret: [s, t]\n  credentials: {b: x, a: y}\n  listen:\n" +
				"  - {ip: 192.0.2.1, port: 443, transport: auto}\n  - {enable_turn: false}\n" +
				"  - {transport: tcp, proxy_protocol: true}\n", "r",
			[]Listener{at(TCP, 443, "192.0.2.1"), at(TLS, 443, "192.0.2.1")},
			"1700000060 1700000060 a b",
		},
		"ejabberd": {
			"ejabberd", "hosts: [example.org]\nlisten:\n- port: 5222\n  module: ejabberd_c2s\n- port: 3478\n  transport: udp\n" +
				turn + "- ip: '0.0.0.0'\n  port: 5349\n  tls: true\n" + turn + "- port: 3480\n  module: ejabberd_stun\n" +
				"modules:\n  mod_roster:\n  mod_stun_disco:\n    secret: s\n", "example.org",
			[]Listener{at(UDP, 3478, ""), at(TLS, 5349, "")},
			"1700000060:77341ff020116dfd",
		},
		"ejabberd, a secret of a host": {
			"ejabberd", "hosts: [a.example, example.org]\nlisten:\n- port: 1\n  auth_realm: x\n" + turn +
				"host_config:\n  example.org:\n    modules:\n      mod_stun_disco: {secret: s}\n", "x",
			[]Listener{at(TCP, 1, "")},
			"1700000060:77341ff020116dfd",
		},
		"ejabberd, no secret, two realms": {
			"ejabberd", "hosts: [a]\nmodules:\n  mod_stun_disco: {}\nlisten:\n- auth_realm: x\n" + turn + "- port: 2\n" +
				turn, "",
			[]Listener{at(TCP, 3478, ""), at(TCP, 2, "")},
			"nobody",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := Named(c.server)
			if err != nil {
				t.Fatal(err)
			}
			o, err := server.Offer([]byte(c.conf), offeredAt)
			if err != nil {
				t.Fatal(err)
			}
			same := cmpopts.EquateComparable(netip.Addr{})
			if diff := cmp.Diff(c.listeners, o.Listeners, same); diff != "" || o.Realm != c.realm {
				t.Errorf("realm %q, %s", o.Realm, diff)
			}
			var who []string
			for _, one := range o.Credentials {
				if one == nil {
					one = &Credential{Name: "nobody"}
				}
				who = append(who, one.Name)
			}
			if is := strings.Join(who, " "); is != c.who {
				t.Errorf("%s, want %s", is, c.who)
			}
		})
	}
}

// What is not understood is an error, which tells no secret.
func TestStunOffersRefuse(t *testing.T) {
	long := strings.Repeat("x", 32)
	for conf, want := range map[string]string{
		"eturnal: {secret: {a: sesame}}":    "it is not YAML as eturnal has it",
		"eturnal: {listen: [{port: unix}]}": `"unix" is the port`,
		"eturnal: sesame":                   "it is not YAML as eturnal has it",
		"hosts: sesame":                     "it is not YAML as ejabberd has it",
		"listen: []":                        "it has no hosts",
		"hosts: [a]\nlisten: [{port: " + `"unix:/x", module: ejabberd_stun, use_turn: true}]`: `"unix:/x" is the port`,
		"eturnal: {listen: [{port: " + long + long + "}]}":                                    `"` + long + `" is the port`,
		"eturnal: {listen: [" + strings.Repeat("{transport: auto},", 9) + "]}":                "more than 16 listeners",
		"eturnal: {}\n" + strings.Repeat("#\n", edit.MaxYAML/2):                               "it is larger than 256 KiB",
	} {
		server := eturnal
		if !strings.HasPrefix(conf, "eturnal") {
			server = ejabberd
		}
		if _, err := server.Offer([]byte(conf), offeredAt); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "sesame") {
			t.Errorf("%.200s: %v", conf, err)
		}
	}
}

// A file with both families promises both, and each is lent.
func TestStunOffersFamilies(t *testing.T) {
	o, err := eturnalOffer([]byte("eturnal:\n  relay_ipv4_addr: 203.0.113.5\n  relay_ipv6_addr: 2001:db8::5\n"), offeredAt)
	if err != nil || len(o.Promised) != 2 || len(o.Lends("ipv6")) != 1 || len(o.Lends("ipv4")) != 1 || o.Everywhere() {
		t.Errorf("%+v, %v", o, err)
	}
}
