package servers

import (
	"errors"

	"netwatch"
	"netwatch/edit"
)

// ejabberd is a server of XMPP that has a TURN server in it. A reload of its unit
// suffices: it has the new address at once, and one that is none it refuses with an error
// (measured, 23.01).
var ejabberd = Server{
	Name: "ejabberd", Options: []Option{familiesOption}, Key: "turn_ipv4_address",
	Rewrite: ejabberdFile.rewrite, Advertised: ejabberdFile.advertised,
	Blind: "it would not start", Named: "ejabberd.yml, or EJABBERD_CONFIG_PATH",
	Start: Start{
		Programs: []string{"ejabberdctl"}, Package: "ejabberd",
		Files: []string{"--config", "-f", "EJABBERD_CONFIG_PATH"}, Dirs: []string{"--config-dir", "-d", "CONFIG_DIR"},
		Base: "ejabberd.yml", Usual: []string{"/etc/ejabberd/ejabberd.yml", "/opt/ejabberd/conf/ejabberd.yml"},
	},
	Follow: "reload", Ports: ejabberdPorts,
}

var ejabberdFile = keyed{form: edit.YAML, keys: ejabberdKeys}

// ErrNoRelays says that a server could lend relays and does not: its file is none of
// netwatch's concern.
var ErrNoRelays = errors.New("nothing in it lends relays")

// ejabberdKeys are those of all listeners that lend relays.
func ejabberdKeys(conf []byte, family netwatch.Family) (keys []string, err error) {
	listeners, err := edit.Items(conf, "listen", "module", "ejabberd_stun")
	for _, listener := range listeners {
		if turn, _ := edit.YAML.Get(conf, listener+".use_turn"); isYes(turn.Text) {
			keys = append(keys, listener+".turn_"+string(family)+"_address")
		}
	}
	if err == nil && len(keys) == 0 {
		err = netwatch.WithHint(ErrNoRelays,
			"there is no listener with module: ejabberd_stun and use_turn: true; leave this step out, or add one")
	}
	return keys, err
}
