package servers

import (
	"net/netip"

	"netwatch"
)

// acme is a server whose whole configuration is our address.
var acme = Server{
	Name: "acme", Usage: "[private=keep]", Options: []string{"private"}, Default: Options{Private: PrivateKeep},
	Rewrite: rewriteAcme, Key: "the address", Advertised: acmeAdvertised,
	Blind: "it would not start", Named: "acme FILE",
}

func rewriteAcme(_ []byte, w Wanted) (text []byte, word string, err error) {
	return []byte(w.Public[netwatch.IPv4].Address.String() + "\n"), "", nil
}

func acmeAdvertised(conf []byte) []netip.Addr {
	a, err := netip.ParseAddr(string(conf[:max(0, len(conf)-1)]))
	if err != nil {
		return nil
	}
	return []netip.Addr{a}
}
