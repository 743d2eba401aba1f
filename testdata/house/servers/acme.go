package servers

import (
	"errors"
	"net/netip"

	"netwatch"
)

// acme is a server whose whole configuration is our address.
var acme = Server{
	Name: "acme", Options: []Option{{Name: "mood", Usage: "well", Check: checkMood}},
	Rewrite: rewriteAcme, Key: "the address", Advertised: acmeAdvertised,
	Blind: "it would not start", Named: "acme FILE",
}

func checkMood(value string) error {
	if value != "well" {
		return errors.New("it must be well")
	}
	return nil
}

func rewriteAcme(_ []byte, w Wanted) (text []byte, word string, err error) {
	return []byte(w.Public[netwatch.IPv4].Address.String() + "\n"), "", nil
}

func acmeAdvertised(conf []byte, _ Options) []netip.Addr {
	a, err := netip.ParseAddr(string(conf[:max(0, len(conf)-1)]))
	if err != nil {
		return nil
	}
	return []netip.Addr{a}
}
