package servers

import (
	"fmt"
	"net/netip"
	"strconv"

	"go.yaml.in/yaml/v3"

	"netwatch"
	"netwatch/edit"
)

// offering is an offer of relays at the addresses that a server advertises, whatever
// address it is asked at; to nobody so far.
func offering(advertised []netip.Addr) *Offer {
	o := &Offer{Advertised: advertised, Relays: advertised, Credentials: []*Credential{nil}}
	for _, a := range advertised {
		o.Promised = append(o.Promised, netwatch.FamilyOf(a))
	}
	return o
}

// lendTo has those ask who can have credentials, and nobody if there are none.
func (t *Offer) lendTo(who []*Credential) {
	if len(who) > 0 {
		t.Credentials = who[:min(len(who), maxSecrets)]
	}
}

// maxListeners is how many listeners that lend relays are heeded: more than a server has,
// and so few that to ask each of them, or to give each its address, takes no time.
const maxListeners = 16

var errListeners = netwatch.WithHint(
	fmt.Errorf("more than %d listeners in it lend relays", maxListeners), "take out those that are too much")

// listen adds a listener for each transport, at the port and the address that the file
// has for them.
func (t *Offer) listen(port, ip string, byDefault uint16, over ...Transport) error {
	at := Listener{Port: byDefault}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%.32q is the port of a listener in it, and only a number is understood", port)
		}
		at.Port = uint16(n)
	}
	if a, _ := netip.ParseAddr(ip); Reaches(a) {
		at.IP = a
	}
	if len(t.Listeners)+len(over) > maxListeners {
		return errListeners
	}
	for _, at.Over = range over {
		t.Listeners = append(t.Listeners, at)
	}
	return nil
}

// understand reads a file of YAML. What the reader complains of may have some of its text,
// which is not said.
func understand(conf []byte, server string, into any) error {
	if len(conf) > edit.MaxYAML {
		return edit.ErrTooLarge
	}
	if yaml.Unmarshal(conf, into) != nil {
		return fmt.Errorf("it is not YAML as %s has it", server)
	}
	return nil
}
