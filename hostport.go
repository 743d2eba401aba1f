package netwatch

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// HostPort reads "host", "host:port", "address" or "[address]:port", and returns one text
// for all that mean the same, with the usual port where there is none.
func HostPort(text, usual string) (server string, ok bool) {
	host, port := text, usual
	if bare, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(bare, "]") {
		host = strings.TrimSuffix(bare, "]")
	} else if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
		if host, port, err = net.SplitHostPort(host); err != nil {
			return "", false
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	addr, notLiteral := netip.ParseAddr(host)
	if err != nil || n == 0 || addr.Zone() != "" || notLiteral != nil && !IsHostName(host) {
		return "", false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if notLiteral == nil {
		host = addr.Unmap().String() // One address, one text
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), true
}

// IsHostName says whether a text can be looked up: labels of letters, digits, hyphens
// and underscores, the last of which is not a number (RFC 1123, 2.1).
func IsHostName(text string) bool {
	labels := strings.Split(strings.TrimSuffix(text, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return len(text) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func notInLabel(c rune) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return !letter && (c < '0' || c > '9') && c != '-' && c != '_'
}
