package servers

import "netwatch/edit"

// janus is a WebRTC server. It reads its file when it starts, and a SIGHUP ends it
// (measured, 1.1.2): a restart follows.
var janus = Server{
	Name: "janus", Key: "nat_1_1_mapping",
	Rewrite: janusFile.rewrite, Advertised: janusFile.advertised,
	Blind: "it would not start", Named: "/etc/janus/janus.jcfg",
	Start: Start{
		Programs: []string{"janus"}, Package: "janus", Files: []string{"--config", "-C"},
		Dirs: []string{"--configs-folder", "-F"}, Base: "janus.jcfg", Usual: []string{"/etc/janus/janus.jcfg"},
		Instead: []string{"--nat-1-1", "-1"},
	},
	Follow: "restart", Ports: janusPorts,
}

var janusFile = listed{edit.Libconfig, "nat.nat_1_1_mapping"}
