package servers

import (
	"fmt"
	"net/netip"
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
	Rewrite: newLiveKit, Advertised: livekitAdvertised, Calls: livekitCalls,
	Blind: "it would not start", Named: "livekit-server --config FILE",
	Versioned: livekitVersioned,
	Flag:      "--node-ip", // Which wins in 1.9, and loses in 1.13 (measured)
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
