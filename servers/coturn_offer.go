package servers

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what coturn makes its credentials with
	"encoding/base64"
	"encoding/hex"
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
	// Listening are the addresses that it names to be asked at, and Port the port.
	Listening []netip.Addr
	Port      uint16
	// Credentials are those by which relays are lent: one by each secret, or else
	// the first user's, or else nil.
	Credentials []*Credential
	// Private are the private parts of its external-ip.
	Private []netip.Addr
	// Advertised are the addresses that callers get once it is started with it.
	Advertised []netip.Addr
}

// A Credential is a user and its password, or the key made of them (RFC 8489,
// 9.2.2).
type Credential struct {
	Name, Password string
	Key            []byte
}

// defaultTurnPort is coturn's listening-port, which is TURN's (RFC 8656, 18.1).
const defaultTurnPort = 3478

// credentialTime is for how long a credential made of a secret is good.
const credentialTime = time.Minute

// coturnOffer is what conf, a configuration of coturn, says at a time. Of a key that
// is given again coturn heeds the last, or all of them where several make sense.
func coturnOffer(conf []byte, now time.Time) (*Offer, error) {
	if err := checkCoturn(conf); err != nil {
		return nil, err
	}
	turn := &Offer{Port: defaultTurnPort, Advertised: coturnAdvertised(conf)}
	var users []*Credential
	for _, p := range split(conf) {
		switch value := p.value(); p.key {
		case "listening-ip":
			if a, err := netip.ParseAddr(value); err == nil {
				turn.Listening = append(turn.Listening, a)
			}
		case externalKey:
			if e := parseExternal(value); e.private.IsValid() {
				turn.Private = append(turn.Private, e.private)
			}
		case "listening-port":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("listening-port=%s is not a port", value)
			}
			turn.Port = uint16(port)
		case "static-auth-secret":
			turn.Credentials = append(turn.Credentials, byExpiry(value, now.Add(credentialTime)))
		case "user":
			users = append(users, byPassword(value))
		}
	}
	users = append(slices.DeleteFunc(users, func(i *Credential) bool { return i == nil }), nil)
	if len(turn.Credentials) == 0 {
		turn.Credentials = users[:1] // coturn heeds no user beside a secret
	}
	return turn, nil
}

// byExpiry is who has a secret: a name that is the time, in Unix seconds, up to
// which it is good, and a keyed hash of it as the password (turnserver(1),
// use-auth-secret). Without a name behind it, rest-api-separator does not matter.
func byExpiry(secret string, until time.Time) *Credential {
	name := strconv.FormatInt(until.Unix(), 10)
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

// At is where to ask for a relayed address of a family: at own, or where
// else coturn listens. Without relay-ip it relays over the address that it is
// asked at (measured, 4.6.1), so that one asked over loopback tells nothing.
func (t *Offer) At(family netwatch.Family, own netip.Addr) (netip.AddrPort, error) {
	rank := func(a netip.Addr) int {
		switch {
		case a == own:
			return 0
		case netwatch.FamilyOf(a) == family && !a.IsLoopback():
			return 1
		case !a.IsLoopback():
			return 2
		}
		return 3
	}
	at := own
	if len(t.Listening) > 0 {
		at = slices.MinFunc(t.Listening, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	}
	if !at.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("this machine has no %s address of its own to ask at", family)
	}
	return netip.AddrPortFrom(at, t.Port), nil
}
