package servers

import "strings"

// Words are what a proof tells a person of a server that lends relays: how its file calls
// what may be wrong, and what to do about it. FILE in them stands for the file.
type Words struct {
	// Again has it heed its file, as in "restart it".
	Again string
	// Heeds goes on behind "FILE has the right address, ": when it heeds that, and what is
	// wrong if it did.
	Heeds string
	// Renewed has it read a renewed certificate.
	Renewed string
	// Listens says where it is to listen, and Nowhere what keeps it from listening at all.
	Listens, Nowhere string
	// Certificate goes on behind "see whether its unit runs": what keeps it from listening
	// for TLS alone.
	Certificate string
	// Nobody is what credentials could be made of, and Whom what to do without that.
	Nobody, Whom string
	// Ends has it lend to credentials that end by themselves.
	Ends string
	// Open keeps it from lending relays to everyone.
	Open string
	// Unread says that it does so too when it cannot read its file.
	Unread bool
	// Off is why it may lend none to anybody.
	Off string
	// Quota and Ports are what it may have used up.
	Quota, Ports string
	// Private has it lend public addresses.
	Private string
	// NoIPv6 is why nobody is lent an IPv6 relay, and Family what to do about a family that
	// it does not lend; empty where that depends.
	NoIPv6, Family string
	// Keep has callers lent the family that they come over; empty if nothing does.
	Keep string
}

// coturnWords are those of coturn.
var coturnWords = Words{
	Again: "restart it",
	Heeds: "which coturn reads only when it starts: restart it; if it was, the private part is not the address that it " +
		"relays from (private=auto)",
	Renewed:     "signal USR2 of its unit, or restart it",
	Listens:     "listening-ip and the ports",
	Nowhere:     "no-udp and no-tcp leave TLS alone, which needs cert and pkey, and no no-tls",
	Certificate: "whether its user can read cert and pkey in FILE: without them coturn starts all the same",
	Nobody:      "neither static-auth-secret nor user",
	Whom: "whom coturn's database knows cannot be seen from here: add a user=NAME:PASSWORD to the file, or leave this " +
		"step out",
	Ends: "write use-auth-secret and static-auth-secret= with a long random text into FILE in the place of its users, " +
		"restart it, and have those know it who give callers credentials (Synapse: turn_shared_secret); or leave out from=",
	Open:    "no-auth is not in FILE and credentials are",
	Unread:  true,
	Quota:   "user-quota or total-quota",
	Ports:   "min-port and max-port",
	Private: "have external-ip in FILE say the public address, or relay-ip name one",
	NoIPv6:  "neither relay-ip nor listening-ip names such an address",
	Keep:    "allocation-default-address-family=keep",
}

// Of are the words about a file.
func (w Words) Of(file string) Words {
	for _, text := range []*string{&w.Certificate, &w.Whom, &w.Ends, &w.Open, &w.Off, &w.Private, &w.Family} {
		*text = strings.ReplaceAll(*text, "FILE", file)
	}
	return w
}
