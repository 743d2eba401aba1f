package sources

import (
	"net/netip"
	"slices"
	"strings"
)

// maxScript is how many bytes a script's type may have: more than any has.
const maxScript = 32

// leaving are the scripts that run when a peer goes (openvpn(8)).
var leaving = []string{"down", "route-pre-down", "client-disconnect"}

// OpenVPNFields are the fields of vpn-changed when OpenVPN runs a script with these
// arguments and this environment. The address in them is the one of the peer: the field
// is new, or old if the peer goes. Parts of arguments and environment come from the
// other end of a network, so it leaves out what does not look right, and nothing is an
// error.
func OpenVPNFields(args []string, getenv func(string) string) map[string]string {
	fields := map[string]string{}
	script := getenv("script_type")
	if isName(script, maxScript) {
		fields["script"] = script
	}
	if dev := getenv("dev"); isName(dev, maxInterface) {
		fields["interface"] = dev
	}
	if peer := peerAddress(script, args, getenv); peer.IsValid() {
		fields[side(script, args)] = peer.String()
	}
	return fields
}

// isName says whether text can be a name: printable ASCII without blanks and
// slashes.
func isName(text string, longest int) bool {
	strange := func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }
	return text != "" && len(text) <= longest && !strings.ContainsFunc(text, strange)
}

// side is the field for the address of the peer: old if the peer goes, or else new.
func side(script string, args []string) string {
	gone := script == "learn-address" && len(args) > 0 && args[0] == "delete"
	if gone || slices.Contains(leaving, script) {
		return "old"
	}
	return "new"
}

// peerAddress is the address of the peer, if OpenVPN tells it. ipchange gets it as
// its last argument, "[AF_INET]192.0.2.1 1194" (measured with 2.6 and 2.7), or as its
// last two, "192.0.2.1" "1194" (openvpn(8)).
func peerAddress(script string, args []string, getenv func(string) string) netip.Addr {
	var told []string
	if script == "ipchange" {
		told = slices.Clone(args[max(0, len(args)-2):])
		slices.Reverse(told)
	}
	for _, text := range append(told, getenv("trusted_ip"), getenv("trusted_ip6")) {
		if a := parsePeer(text); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// parsePeer reads an address that may have a family before it and a port behind it.
// An IPv4 peer of an IPv6 socket becomes the IPv4 address that it has.
func parsePeer(text string) netip.Addr {
	text, _, _ = strings.Cut(text, " ")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "[AF_INET]"), "[AF_INET6]")
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.WithZone("").Unmap()
}
