package servers

import (
	"net/netip"
	"strings"

	"netwatch/edit"
)

// livekit is the server of Matrix calls (Element Call). It reads its file when it starts:
// a restart follows. SIGHUP kills it (measured, 1.9.11 and 1.13.5).
//
// A list of two addresses is one that 1.13 takes; 1.9 runs with it and offers callers no
// candidate at all. So IPv4 alone is written unless the file has such a list already.
var livekit = Server{
	Name: "livekit", Key: "node_ip",
	Rewrite: newLiveKit, Advertised: livekitAdvertised, Calls: livekitCalls,
	Blind: "it would not start", Named: "livekit-server --config FILE",
	Flag: "--node-ip", // Which wins in 1.9, and loses in 1.13 (measured)
	Start: Start{
		Programs: []string{"livekit-server"}, Files: []string{"--config", "-config"},
		Instead: []string{"--config-body", "-config-body", "LIVEKIT_CONFIG", "NODE_IP"},
	},
	Follow: "restart", Drain: "5s", Binds: true, Itself: asksItself,
	Ports: livekitPorts, Certificate: livekitCertificate,
}

var livekitFile = listed{edit.YAML, "rtc.node_ip"}

// newLiveKit is conf with node_ip, unless LiveKit finds its address out for itself.
func newLiveKit(conf []byte, w Wanted) (text []byte, word string, err error) {
	if asksItself(conf) {
		return conf, "use_external_ip is true: LiveKit asks for its address when it starts, and its file needs none; " +
			"have it restarted by `restart UNIT always`", nil
	}
	return livekitFile.rewrite(conf, w)
}

// asksItself says whether LiveKit asks a STUN server for its address, which overrides
// what stands in the file (measured).
func asksItself(conf []byte) bool {
	asks, err := edit.YAML.Get(conf, "rtc.use_external_ip")
	return err == nil && isYes(asks.Text)
}

// isYes says whether a value is true to any reader of YAML.
func isYes(text string) bool {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "y":
		return true
	}
	return false
}

func livekitAdvertised(conf []byte, o Options) []netip.Addr {
	if asksItself(conf) {
		return nil
	}
	return livekitFile.advertised(conf, o)
}
