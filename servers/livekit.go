package servers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/edit"
)

// livekit is the server of Matrix calls (Element Call). It reads its file when it starts:
// a restart follows. SIGHUP kills it (measured, 1.9.11 and 1.13.5).
//
// An address of each family, with a comma between, is a list that 1.13 takes; 1.9 runs with
// it and offers callers no candidate at all. So IPv4 alone is written unless the file has
// such a list already, and then only where the version is known. At two of one family 1.13
// ends, with exit code 0, and 1.9 offers no candidate (all of it measured).
var livekit = Server{
	Name: "livekit", Key: "node_ip",
	Rewrite: newLiveKit, Advertised: livekitAdvertised, Calls: livekitCalls, Words: livekitWords,
	Blind: "it would not start", Named: "livekit-server --config FILE",
	Versioned: livekitVersioned,
	Flag:      "--node-ip", // Which wins in 1.9, and loses in 1.13 (measured)
	Start: Start{
		Programs: []string{"livekit-server"}, Files: []string{"--config", "-config"},
		Instead: []string{"--config-body", "-config-body", "LIVEKIT_CONFIG", "NODE_IP"},
	},
	Follow: "restart", Drain: "5s", Binds: true, Itself: asksItself,
	Ports: livekitPorts, Certificate: livekitCertificate,
}

// livekitWords are about its TURN server.
var livekitWords = Words{
	Again: "restart it", Renewed: "restart it", Listens: "udp_port and tls_port below turn:",
	Heeds:       "which LiveKit reads only when it starts: restart it",
	Certificate: "whether its user can read cert_file and key_file below turn: in FILE",
	Open:        "enabled: true is below turn: in FILE",
	Quota:       "per_user_relay_allocation_limit", Ports: "relay_range_start and relay_range_end",
	Private: "have a step `rotate livekit FILE` and a restart", Family: "see rtc.node_ip in FILE",
}

var livekitFile = listed{edit.YAML, "rtc.node_ip"}

// newLiveKit is conf with node_ip, unless LiveKit finds its address out for itself.
func newLiveKit(conf []byte, w Wanted) (text []byte, word string, err error) {
	if asksItself(conf) {
		return conf, "use_external_ip is true: LiveKit asks for its address when it starts, and its file needs none; " +
			"have it restarted by `restart UNIT always`", nil
	}
	if err := checkList(conf, w.Version); err != nil {
		return nil, "", err
	}
	return livekitFile.rewrite(conf, w)
}

// livekitVersioned says whether conf has a list, which not every version takes.
func livekitVersioned(conf []byte) bool {
	value, err := livekitFile.form.Get(conf, livekitFile.key)
	all, _ := addressesIn(value.Text)
	return err == nil && len(all) > 1
}

// checkList refuses a list by which LiveKit would not start, or leave callers without a
// candidate.
func checkList(conf []byte, v Version) error {
	if !livekitVersioned(conf) {
		return nil
	}
	value, err := livekitFile.form.Get(conf, livekitFile.key)
	all, ok := addressesIn(value.Text)
	switch {
	case err != nil || !ok:
		return nil // Which rewrite says
	case len(livekitFile.advertised(conf, nil)) < len(all):
		return netwatch.WithHint(value.Wrong("LiveKit takes one address of each family: it would not start, or give "+
			"callers no candidate"), "leave one address there; netwatch keeps that right")
	case !v.AtLeast(1, 13):
		is := "which version this one is cannot be found out"
		if v != (Version{}) {
			is = fmt.Sprintf("this one is %d.%d", v.Major, v.Minor)
		}
		return netwatch.WithHint(value.Wrong("up to LiveKit 1.12 callers may get no candidate of two addresses, and "+is),
			"leave the IPv4 address alone there; netwatch keeps that right")
	}
	return nil
}

// asksItself says whether LiveKit asks a STUN server for its address, which overrides
// what stands in the file and in its flag (measured, 1.9.11 and 1.13.5).
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

// An Over is what of a file something else may go before.
type Over string

// The whole of it, the address in it (up to 1.9), and its keys.
const (
	OverAll     Over = ""
	OverAddress Over = "address"
	OverKeys    Over = "keys"
)

// goesBefore are the options and variables that go before the file. The variables were
// measured, 1.9.11 and 1.13.5, in which the file has the address; the options were read in
// its source, but for --node-ip.
var goesBefore = map[Over][]string{
	OverAll:     {"--config-body", "LIVEKIT_CONFIG"},
	OverAddress: {"--node-ip", "--rtc.node_ip", "NODE_IP", "LIVEKIT_RTC_NODE_IP"},
	OverKeys:    {"--keys", "LIVEKIT_KEYS", "--key-file", "--key_file", "LIVEKIT_KEY_FILE"},
}

// LiveKitOverrides are those among the words of a command line, and among variables, that
// go before the whole file or before that of it.
func LiveKitOverrides(of Over, words, variables []string) (all []string) {
	for _, word := range slices.Concat(words, variables) {
		name, _, _ := strings.Cut(word, "=")
		if slices.Contains(goesBefore[OverAll], name) || slices.Contains(goesBefore[of], name) {
			all = append(all, name)
		}
	}
	return all
}
