package servers

import (
	"netwatch"
	"netwatch/edit"
)

// eturnal is a TURN server. It reads its file again when its unit is reloaded, and then
// opens its listeners anew if the address is another (read in its source).
var eturnal = Server{
	Name: "eturnal", Options: []Option{familiesOption}, Key: "relay_ipv4_addr",
	Rewrite: eturnalFile.rewrite, Advertised: eturnalFile.advertised,
	Blind: "it would not start", Named: "/etc/eturnal.yml, or ETURNAL_ETC_DIR",
	Start: Start{
		Programs: []string{"eturnalctl"}, Package: "eturnal", Dirs: []string{"ETURNAL_ETC_DIR"}, Base: "eturnal.yml",
		Usual:   []string{"/etc/eturnal.yml", "/opt/eturnal/etc/eturnal.yml"},
		Instead: []string{"ETURNAL_RELAY_IPV4_ADDR", "ETURNAL_RELAY_IPV6_ADDR"},
	},
	Follow: "reload", Ports: eturnalPorts,
}

var eturnalFile = keyed{form: edit.YAML, keys: func(_ []byte, family netwatch.Family) ([]string, error) {
	return []string{"eturnal.relay_" + string(family) + "_addr"}, nil
}}
