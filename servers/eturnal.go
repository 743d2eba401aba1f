package servers

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"netwatch"
	"netwatch/edit"
)

// eturnal is a TURN server. It reads its file again when its unit is reloaded, and then
// opens its listeners anew if the address is another (measured, 1.12.2 and later).
var eturnal = Server{
	Name: "eturnal", Options: []Option{familiesOption}, Key: "relay_ipv4_addr",
	Rewrite: eturnalFile.rewrite, Advertised: eturnalFile.advertised, Offer: eturnalOffer, Words: eturnalWords,
	Blind: "it would not start", Named: "/etc/eturnal.yml, or ETURNAL_ETC_DIR",
	Start: Start{
		Programs: []string{"eturnalctl"}, Package: "eturnal", Dirs: []string{"ETURNAL_ETC_DIR"}, Base: "eturnal.yml",
		Usual:   []string{"/etc/eturnal.yml", "/opt/eturnal/etc/eturnal.yml"},
		Instead: []string{"ETURNAL_RELAY_IPV4_ADDR", "ETURNAL_RELAY_IPV6_ADDR"},
	},
	Follow: "reload-or-restart", Ports: eturnalPorts,
}

var eturnalFile = keyed{form: edit.YAML, off: "none", keys: func(_ []byte, family netwatch.Family) ([]string, error) {
	return []string{"eturnal.relay_" + string(family) + "_addr"}, nil
}}

var eturnalWords = Words{
	Again: "reload it",
	Heeds: "which eturnal reads when it starts or is reloaded: reload it; if it was, its log says what it did not take",
	// A reload has it look whether the certificate is another.
	Renewed: "reload it", Listens: "listen", Nowhere: "no listener in it lends relays: see listen and enable_turn",
	Certificate: "whether its user can read tls_crt_file and tls_key_file in FILE",
	Nobody:      "neither a secret nor credentials",
	Whom: "eturnal then makes up a secret when it starts, or has that of ETURNAL_SECRET, and neither can be seen from " +
		"here: write secret: and a long random text below eturnal: in FILE and reload it, or leave this step out",
	Ends: "write secret: and a long random text below eturnal: in FILE and reload it, or leave out from=",
	Open: "a secret is in FILE", Off: "relay_ipv4_addr and a secret are in FILE",
	Quota: "max_allocations", Ports: "relay_min_port and relay_max_port",
	Private: "have relay_ipv4_addr in FILE say the public address",
	NoIPv6:  "relay_ipv6_addr is not in the file", Family: "see relay_ipv6_addr in FILE",
}

// An eturnalListener is a place that eturnal listens at.
type eturnalListener struct {
	IP        string `yaml:"ip"`
	Port      string `yaml:"port"`
	Transport string `yaml:"transport"`
	Turn      string `yaml:"enable_turn"`
	Proxy     string `yaml:"proxy_protocol"`
}

// asked says whether callers are lent relays there, and not only those behind a proxy
// which says who they are.
func (l eturnalListener) asked() bool { return (l.Turn == "" || isYes(l.Turn)) && !isYes(l.Proxy) }

// oneOrMore is a text or a list of them.
type oneOrMore []string

// UnmarshalYAML takes either.
func (o *oneOrMore) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*o = oneOrMore{node.Value}
		return nil
	}
	return node.Decode((*[]string)(o))
}

// eturnalOffer is what conf, a configuration of eturnal, says at a time.
func eturnalOffer(conf []byte, now time.Time) (*Offer, error) {
	var said struct {
		Eturnal struct {
			Secret      oneOrMore         `yaml:"secret"`
			Credentials map[string]string `yaml:"credentials"`
			Realm       string            `yaml:"realm"`
			Listen      []eturnalListener `yaml:"listen"`
		} `yaml:"eturnal"`
	}
	said.Eturnal.Realm = "eturnal.net"
	said.Eturnal.Listen = []eturnalListener{{Transport: "udp"}, {Transport: "tcp"}}
	if err := understand(conf, "eturnal", &said); err != nil {
		return nil, err
	}
	o := offering(eturnalFile.advertised(conf, nil))
	o.Realm, o.Span = said.Eturnal.Realm, span(eturnalPorts(conf))
	for _, l := range said.Eturnal.Listen {
		if err := l.add(o); err != nil {
			return nil, err
		}
	}
	var who []*Credential
	for _, secret := range said.Eturnal.Secret {
		o.Secret = cmp.Or(o.Secret, secret)
		who = append(who, byExpiry(secret, now.Add(credentialTime), ""))
	}
	for _, name := range slices.Sorted(maps.Keys(said.Eturnal.Credentials)) {
		who = append(who, &Credential{Name: name, Password: said.Eturnal.Credentials[name]})
	}
	o.lendTo(who)
	return o, nil
}

// add adds the listener to an offer; auto is TCP and TLS at one port.
func (l eturnalListener) add(o *Offer) error {
	if !l.asked() {
		return nil
	}
	switch l.Transport {
	case "tcp":
		return o.listen(l.Port, l.IP, DefaultPort, TCP)
	case "tls":
		return o.listen(l.Port, l.IP, defaultTLSPort, TLS)
	case "auto":
		return o.listen(l.Port, l.IP, DefaultPort, TCP, TLS)
	}
	return o.listen(l.Port, l.IP, DefaultPort, UDP)
}
