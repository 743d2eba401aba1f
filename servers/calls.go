package servers

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
)

// Calls are what a configuration offers to those who call, and how they are to ask.
type Calls struct {
	// Port is where it is asked, by HTTP.
	Port uint16
	// Listening are the addresses that it names to be asked at.
	Listening []netip.Addr
	// Key and Secret are one of its pairs.
	Key, Secret string
	// Advertised are the addresses that callers get once it is started with it. Itself
	// says that it asks others for its own.
	Advertised []netip.Addr
	Itself     bool
}

// defaultCallPort is LiveKit's where its file names none.
const defaultCallPort = 7880

// livekitCalls is what conf, a configuration of LiveKit, says.
func livekitCalls(conf []byte) (*Calls, error) {
	var said struct {
		Port      uint16            `yaml:"port"`
		Addresses []string          `yaml:"bind_addresses"`
		Keys      map[string]string `yaml:"keys"`
	}
	if err := understand(conf, "LiveKit", &said); err != nil {
		return nil, err
	}
	c := &Calls{Port: said.Port, Advertised: livekitAdvertised(conf, nil), Itself: asksItself(conf)}
	if c.Port == 0 {
		c.Port = defaultCallPort
	}
	for _, text := range said.Addresses {
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			c.Listening = append(c.Listening, a)
		}
	}
	names := make([]string, 0, len(said.Keys))
	for name := range said.Keys {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, netwatch.WithHint(errors.New("it has no keys"),
			"write one below keys: in it; those of key_file and of the environment cannot be seen from here")
	}
	c.Key = slices.Min(names)
	c.Secret = said.Keys[c.Key]
	return c, nil
}

// At is where to ask: over loopback where it listens there, since callers are told the
// same wherever they ask.
func (c Calls) At() (netip.AddrPort, error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if len(c.Listening) == 0 || slices.Contains(c.Listening, netip.IPv4Unspecified()) ||
		slices.Contains(c.Listening, netip.IPv6Unspecified()) {
		return netip.AddrPortFrom(loopback, c.Port), nil
	}
	for _, a := range c.Listening {
		if a.IsLoopback() || Reaches(a) {
			return netip.AddrPortFrom(a, c.Port), nil
		}
	}
	return netip.AddrPort{}, errors.New("none of its bind_addresses can be asked at")
}
