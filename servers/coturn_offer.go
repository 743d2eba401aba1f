package servers

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what coturn makes its credentials with
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"netwatch"
)

// An Offer is what a configuration offers to callers, and how they are to ask.
type Offer struct {
	// Listeners are the ports that it has callers ask at, one of a transport.
	Listeners []Listener
	// Listening are the addresses that it names to be asked at.
	Listening []netip.Addr
	// Relays are the addresses that it names to relay from; without any it relays
	// from those that it listens at.
	Relays []netip.Addr
	// Realm is what the server calls itself when it refuses; empty if it is not named.
	Realm string
	// Credentials are those by which relays are lent: one by each secret, or else
	// the first user's, or else nil.
	Credentials []*Credential
	// Secret is the first by which relays are lent, and Behind what such a name ends with.
	Secret, Behind string
	// Span are the ports that it relays from, as in "49153-49193".
	Span string
	// Private are the private parts of its external-ip.
	Private []netip.Addr
	// Advertised are the addresses that callers get once it is started with it.
	Advertised []netip.Addr
	// Itself says that it asks others for its address when it starts.
	Itself bool
	// Promised are the families of which callers get such an address: both by a plain
	// external-ip, those of the pairs else, and none without any.
	Promised []netwatch.Family
	// ByDefault is what coturn lends to those who name no family: "ipv4" unless it is
	// "ipv6", or "keep", which is the family that they come over.
	ByDefault string
}

// A Transport is what callers reach a server over.
type Transport string

// The transports. DTLS is not among them: with the same file 4.6.1 listens for it
// and 4.18 does not (measured).
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// A Listener is a port, and what is spoken there.
type Listener struct {
	Over Transport
	Port uint16
	// IP is the one address that it is at, where each has its own; invalid where
	// Listening says it.
	IP netip.Addr
}

// A Credential is a user and its password, or the key made of them (RFC 8489,
// 9.2.2).
type Credential struct {
	Name, Password string
	Key            []byte
}

// DefaultPort and defaultTLSPort are coturn's where its file names none, which are TURN's
// (RFC 8656, 18.1).
const (
	DefaultPort    = 3478
	defaultTLSPort = 5349
)

// credentialTime is for how long a credential made of a secret is good.
const credentialTime = time.Minute

// maxSecrets is how many secrets are heeded: while one gives way to another, there are
// two.
const maxSecrets = 16

// coturnOffer is what conf, a configuration of coturn, says at a time. Of a key that
// is given again coturn heeds the last, or all of them where several make sense.
func coturnOffer(conf []byte, now time.Time) (*Offer, error) {
	pieces := split(conf)
	if err := cmp.Or(checkCoturn(conf), checkNamed(pieces)); err != nil {
		return nil, err
	}
	turn := &Offer{Advertised: coturnAdvertised(conf, nil), Promised: promised(conf)}
	ports := ports{plain: DefaultPort, tls: defaultTLSPort}
	var users []*Credential
	for _, p := range pieces {
		value := p.value()
		if err := ports.heed(p.key, value); err != nil {
			return nil, err
		}
		switch p.key {
		case "listening-ip":
			turn.Listening = named(turn.Listening, value)
		case "relay-ip":
			turn.Relays = named(turn.Relays, value)
		case "realm":
			turn.Realm = value
		case "allocation-default-address-family":
			turn.ByDefault = value
		case "keep-address-family":
			if is, err := isTrue(value); is && err == nil {
				turn.ByDefault = keepFamily
			}
		case externalKey:
			if e := parseExternal(value); e.private.IsValid() {
				turn.Private = append(turn.Private, e.private)
			}
		case "static-auth-secret":
			turn.Secret = cmp.Or(turn.Secret, value)
			if len(turn.Credentials) < maxSecrets {
				turn.Credentials = append(turn.Credentials, byExpiry(value, now.Add(credentialTime), ""))
			}
		case "user":
			users = append(users, byPassword(value))
		}
	}
	users = append(slices.DeleteFunc(users, func(i *Credential) bool { return i == nil }), nil)
	if len(turn.Credentials) == 0 {
		turn.Credentials = users[:1] // coturn heeds no user beside a secret
	}
	turn.Listeners, turn.Span = ports.listeners(), coturnSpan(conf)
	return turn, nil
}

// coturnSpan are the ports that coturn relays from.
func coturnSpan(conf []byte) string {
	port := func(key string, usual uint16) uint16 {
		if port, err := portIn(Setting(conf, key)); err == nil {
			return port
		}
		return usual
	}
	return fmt.Sprintf("%d-%d", port("min-port", relayedFrom), port("max-port", relayedTo))
}

// promised are the families of which external-ip names an address to callers.
func promised(conf []byte) (all []netwatch.Family) {
	lines := externals(split(conf))
	plain := func(e external) bool { return e.isPlain() || e.useless.IsValid() }
	for _, family := range netwatch.Families {
		paired := func(e external) bool { return e.family == family && e.public.IsValid() }
		if slices.ContainsFunc(lines, plain) || slices.ContainsFunc(lines, paired) {
			all = append(all, family)
		}
	}
	return all
}

// named are addresses and the one in value, if it is one.
func named(all []netip.Addr, value string) []netip.Addr {
	if a, err := netip.ParseAddr(value); err == nil {
		return append(all, a)
	}
	return all
}

// ports are what decides which listeners coturn opens.
type ports struct {
	plain, tls          uint16
	noUDP, noTCP, noTLS bool
	cert, key           bool
}

// heed takes up a line that is about listeners. It is an error that coturn does not
// start with, or listens where nobody can tell.
func (p *ports) heed(key, value string) (err error) {
	switch key {
	case "listening-port":
		p.plain, err = portIn(value)
	case "tls-listening-port":
		p.tls, err = portIn(value)
	case "no-udp":
		p.noUDP, err = isTrue(value)
	case "no-tcp":
		p.noTCP, err = isTrue(value)
	case "no-tls":
		p.noTLS, err = isTrue(value)
	case "cert":
		p.cert = value != ""
	case "pkey":
		p.key = value != ""
	}
	if err != nil {
		return fmt.Errorf("%s=%s %w", key, value, err)
	}
	return nil
}

// listeners are those that coturn opens (all measured, 4.6.1 and 4.18): no-udp and
// no-tcp say nothing about TLS, which needs both of its files. Its alternative ports
// (alt-listening-port, alt-tls-listening-port) are open only with two addresses, and
// are for finding out about NATs (RFC 5780): no caller is sent there.
func (p *ports) listeners() (all []Listener) {
	if !p.noUDP {
		all = append(all, Listener{Over: UDP, Port: p.plain})
	}
	if !p.noTCP {
		all = append(all, Listener{Over: TCP, Port: p.plain})
	}
	if !p.noTLS && p.cert && p.key {
		all = append(all, Listener{Over: TLS, Port: p.tls})
	}
	return all
}

// portIn is the number that value begins with. 4.6.1 listens at 3478 for
// `3478 # behind the router`; 4.18 says what is wrong and ends (measured). For what
// begins with no number, and for 0, 4.6.1 takes any port.
func portIn(value string) (uint16, error) {
	digits := value[:len(value)-len(strings.TrimLeft(value, "0123456789"))]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("is not a port")
	}
	return uint16(port), nil
}

// isTrue is a boolean as coturn reads it, by its first letter but for on and off; none
// is true. It does not start with anything else, as with a comment (measured).
func isTrue(value string) (is bool, err error) {
	switch {
	case value == "", strings.ContainsAny(value[:1], "123456789yYtT"), value == "on", value == "On", value == "ON":
		return true, nil
	case strings.ContainsAny(value[:1], "0nNfF"), value == "off", value == "Off", value == "OFF":
		return false, nil
	}
	return is, netwatch.WithHint(errors.New("is neither true nor false, and coturn does not start with it"),
		"a comment stands on a line of its own")
}

// byExpiry is who has a secret: a name that begins with the time, in Unix seconds, up to
// which it is good, and a keyed hash of it as the password (turnserver(1),
// use-auth-secret). For coturn nothing need stand behind the time, so that
// rest-api-separator does not matter.
func byExpiry(secret string, until time.Time, behind string) *Credential {
	name := strconv.FormatInt(until.Unix(), 10) + behind
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(name)) // Never fails
	return &Credential{Name: name, Password: base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// byPassword is the user of NAME:PASSWORD or NAME:0xKEY, nil if it is neither.
func byPassword(value string) *Credential {
	name, password, ok := strings.Cut(value, ":")
	if !ok || name == "" {
		return nil
	}
	password = strings.TrimLeft(password, " \t")
	who := &Credential{Name: name, Password: password}
	if digits, is := strings.CutPrefix(password, "0x"); is {
		key, err := hex.DecodeString(digits)
		if err != nil {
			return nil
		}
		who.Key = key
	}
	return who
}

// At is where to ask the server: at own, an address of this machine, or where else
// it listens. Without relay-ip it relays over the address that it is asked at
// (measured, 4.6.1), so that one asked over loopback tells nothing.
func (t Offer) At(own netip.Addr) (netip.Addr, error) {
	var listening []netip.Addr
	for _, a := range t.Listening {
		if a.IsUnspecified() && own.IsValid() {
			a = own // It listens at all of them
		}
		if Reaches(a) {
			listening = append(listening, a)
		}
	}
	rank := func(a netip.Addr) int {
		switch {
		case a == own:
			return 0
		case a.IsLoopback():
			return 3
		case a.Is4() != own.Is4():
			return 2
		}
		return 1
	}
	switch {
	case len(listening) > 0:
		return slices.MinFunc(listening, func(a, b netip.Addr) int { return rank(a) - rank(b) }), nil
	case len(t.Listening) == 0 && Reaches(own):
		return own, nil
	}
	return netip.Addr{}, errors.New("this machine has no address of its own to ask at")
}

// Reaches says whether an address leads to a server by itself: one that is
// unspecified does not, and a link-local one only with the name of its interface.
func Reaches(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLinkLocalUnicast()
}

// keepFamily has coturn lend the family that a caller comes over.
const keepFamily = "keep"

// Unnamed is the family that a caller is lent who comes over one and names none: IPv4
// (RFC 8656, 7.2) unless the configuration says another. What coturn does not
// understand there it passes over (measured, 4.6.1 and 4.18).
func (t Offer) Unnamed(over netwatch.Family) netwatch.Family {
	switch t.ByDefault {
	case keepFamily:
		return over
	case string(netwatch.IPv6):
		return netwatch.IPv6
	}
	return netwatch.IPv4
}

// from are the addresses that the configuration names to relay from.
func (t Offer) from() []netip.Addr {
	if len(t.Relays) > 0 {
		return t.Relays
	}
	return t.Listening
}

// Everywhere says that it names one that stands for all.
func (t Offer) Everywhere() bool { return slices.ContainsFunc(t.from(), netip.Addr.IsUnspecified) }

// Lends are the addresses of a family that the configuration names to relay from. It
// names none where one is unspecified. coturn with such a file must not be asked for
// IPv6: the first request turns a thread's relays to IPv6 for good, and callers for IPv4
// are refused by it from then on (measured, 4.6.1: 14 of 30 are).
func (t Offer) Lends(family netwatch.Family) (all []netip.Addr) {
	if t.Everywhere() {
		return nil
	}
	for _, a := range t.from() {
		if netwatch.FamilyOf(a) == family && Reaches(a) && !a.IsLoopback() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
