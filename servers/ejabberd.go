package servers

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // What ejabberd calls its hosts by
	"errors"
	"fmt"
	"time"

	"netwatch"
	"netwatch/edit"
)

// ejabberd is a server of XMPP that has a TURN server in it. A reload of its unit
// suffices: it has the new address at once, and one that is none it refuses with an error.
// One in three loses a port of TCP or TLS ("address already in use"; measured, 23.01 and
// 24.12; ejabberd's issue 3850).
var ejabberd = Server{
	Name: "ejabberd", Options: []Option{familiesOption}, Key: "turn_ipv4_address",
	Rewrite: ejabberdFile.rewrite, Advertised: ejabberdFile.advertised, Offer: ejabberdOffer, Words: ejabberdWords,
	Blind: "it would not start", Named: "ejabberd.yml, or EJABBERD_CONFIG_PATH",
	Start: Start{
		Programs: []string{"ejabberdctl"}, Package: "ejabberd",
		Files: []string{"--config", "-f", "EJABBERD_CONFIG_PATH"}, Dirs: []string{"--config-dir", "-d", "CONFIG_DIR"},
		Base: "ejabberd.yml", Usual: []string{"/etc/ejabberd/ejabberd.yml", "/opt/ejabberd/conf/ejabberd.yml"},
	},
	Follow: "reload-or-restart", Loses: true, Ports: ejabberdPorts,
}

var ejabberdFile = keyed{form: edit.YAML, keys: ejabberdKeys}

var ejabberdWords = Words{
	Again:   "reload it",
	Heeds:   "which ejabberd reads when it starts or is reloaded: reload it; if it was, its log says what it did not take",
	Renewed: "reload it", Listens: "listen", Nowhere: "see listen: ejabberd_stun has none with use_turn: true",
	Certificate: "whether its user can read a certificate of its realm by certfiles in FILE",
	Nobody:      "mod_stun_disco has no secret in it",
	Whom: "ejabberd then makes one up when it starts, and gives credentials to those alone who log in by XMPP: write " +
		"secret: and a long random text below mod_stun_disco: in FILE and reload it, or leave this step out",
	Ends:  "write secret: and a long random text below mod_stun_disco: in FILE and reload it, or leave out from=",
	Open:  "auth_type: anonymous is not in FILE",
	Quota: "turn_max_allocations", Ports: "turn_min_port and turn_max_port",
	Private: "have turn_ipv4_address in FILE say the public address",
	NoIPv6:  "turn_ipv6_address is not in the file", Family: "see turn_ipv6_address in FILE",
}

// ErrNoRelays says that a server could lend relays and does not: its file is none of
// netwatch's concern.
var ErrNoRelays = errors.New("nothing in it lends relays")

// ejabberdKeys are those of all listeners that lend relays.
func ejabberdKeys(conf []byte, family netwatch.Family) (keys []string, err error) {
	listeners, err := edit.Items(conf, "listen", "module", "ejabberd_stun", "use_turn", isYes)
	switch {
	case err != nil:
		return nil, err
	case len(listeners) == 0:
		return nil, netwatch.WithHint(ErrNoRelays,
			"there is no listener with module: ejabberd_stun and use_turn: true; leave this step out, or add one")
	case len(listeners) > maxListeners:
		return nil, errListeners
	}
	for _, listener := range listeners {
		keys = append(keys, listener+".turn_"+string(family)+"_address")
	}
	return keys, nil
}

// An ejabberdListener is a place that ejabberd listens at.
type ejabberdListener struct {
	Module    string `yaml:"module"`
	IP        string `yaml:"ip"`
	Port      string `yaml:"port"`
	Transport string `yaml:"transport"`
	TLS       string `yaml:"tls"`
	Turn      string `yaml:"use_turn"`
	Realm     string `yaml:"auth_realm"`
}

// over is what is spoken there.
func (l ejabberdListener) over() Transport {
	switch {
	case l.Transport == "udp":
		return UDP
	case isYes(l.TLS):
		return TLS
	}
	return TCP
}

// The modules of ejabberd, of which one gives credentials to those who log in by XMPP.
type ejabberdModules struct {
	Disco struct {
		Secret string `yaml:"secret"`
	} `yaml:"mod_stun_disco"`
}

// An ejabberdConfig is what matters of a configuration of ejabberd.
type ejabberdConfig struct {
	Hosts   []string           `yaml:"hosts"`
	Listen  []ejabberdListener `yaml:"listen"`
	Modules ejabberdModules    `yaml:"modules"`
	Own     map[string]struct {
		Modules ejabberdModules `yaml:"modules"`
	} `yaml:"host_config"`
}

// ejabberdOffer is what conf, a configuration of ejabberd, says at a time.
func ejabberdOffer(conf []byte, now time.Time) (*Offer, error) {
	var said ejabberdConfig
	if err := understand(conf, "ejabberd", &said); err != nil {
		return nil, err
	}
	if len(said.Hosts) == 0 {
		return nil, errors.New("it has no hosts")
	}
	o := offering(ejabberdFile.advertised(conf, nil))
	o.Span = span(ejabberdPorts(conf))
	realms := map[string]bool{}
	for _, l := range said.Listen {
		if l.Module != "ejabberd_stun" || !isYes(l.Turn) {
			continue
		}
		if err := o.listen(l.Port, l.IP, DefaultPort, l.over()); err != nil {
			return nil, err
		}
		if o.Realm = l.Realm; o.Realm == "" {
			o.Realm = said.Hosts[0]
		}
		realms[o.Realm] = true
	}
	if len(realms) > 1 {
		o.Realm = "" // Any, as listeners have others
	}
	if o.Secret, o.Behind = said.secret(); o.Secret != "" {
		until := now.Add(credentialTime)
		o.lendTo([]*Credential{byExpiry(o.Secret, until, ":"+hashed("netwatch")+o.Behind)})
	}
	return o, nil
}

// secret is that of the first host that has one, and what stands for that host.
func (c ejabberdConfig) secret() (secret, host string) {
	for _, host := range c.Hosts {
		secret := cmp.Or(c.Own[host].Modules.Disco.Secret, c.Modules.Disco.Secret)
		if secret != "" {
			return secret, hashed(host)
		}
	}
	return "", ""
}

// hashed stands for a name in the credentials that ejabberd makes. Behind the time one
// stands for the user, whom nobody looks up, and then one for the host, whose secret it is;
// without them a name is a user of XMPP, whom it does not know (measured, 23.01: 401).
func hashed(name string) string {
	sum := sha1.Sum([]byte(name)) //nolint:gosec // See above
	return fmt.Sprintf("%x", sum[:4])
}
