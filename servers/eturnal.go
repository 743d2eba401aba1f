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
}

var eturnalFile = keyed{form: edit.YAML, keys: func(_ []byte, family netwatch.Family) ([]string, error) {
	return []string{"eturnal.relay_" + string(family) + "_addr"}, nil
}}
