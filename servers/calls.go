package servers

import (
	"errors"
	"fmt"
	"maps"
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
	// Relays are the listeners of its own TURN server, and RelaysAt the addresses that it
	// names for them.
	Relays   []Listener
	RelaysAt []netip.Addr
	// Span are the ports that it relays from, as in "30000-40000".
	Span string
}

// defaultCallPort is LiveKit's where its file names none.
const defaultCallPort = 7880

// CallRealm is what LiveKit's TURN server calls itself.
const CallRealm = "livekit"

// ErrNoKeys says that a configuration has no keys to ask with.
var ErrNoKeys = errors.New("its keys are not in it")

// A livekitConfig is what matters of a configuration of LiveKit.
type livekitConfig struct {
	Port      uint16            `yaml:"port"`
	Addresses []string          `yaml:"bind_addresses"`
	Keys      map[string]string `yaml:"keys"`
	KeyFile   string            `yaml:"key_file"`
	Turn      struct {
		Enabled   string   `yaml:"enabled"`
		UDP       uint16   `yaml:"udp_port"`
		TLS       uint16   `yaml:"tls_port"`
		External  string   `yaml:"external_tls"`
		Addresses []string `yaml:"bind_addresses"`
	} `yaml:"turn"`
}

// livekitCalls is what conf, a configuration of LiveKit, says. keys is the text of a file
// that has its keys, or nil.
func livekitCalls(conf, keys []byte) (*Calls, error) {
	said := livekitConfig{Port: defaultCallPort}
	if err := understand(conf, "LiveKit", &said); err != nil {
		return nil, err
	}
	c := &Calls{
		Port: said.Port, Listening: addressesOf(said.Addresses),
		Advertised: livekitAdvertised(conf, nil), Itself: asksItself(conf),
		Relays: said.relays(), RelaysAt: addressesOf(said.Turn.Addresses), Span: livekitSpan(conf),
	}
	if keys != nil {
		said.Keys, said.KeyFile = nil, ""
		if err := understand(keys, "LiveKit's key_file", &said.Keys); err != nil {
			return nil, fmt.Errorf("of the keys: %w", err)
		}
	}
	if err := said.keyed(); err != nil {
		return nil, err
	}
	c.Key = slices.Min(slices.Collect(maps.Keys(said.Keys)))
	c.Secret = said.Keys[c.Key]
	return c, nil
}

// plainFile is a path that is one word wherever somebody puts it, as into a step.
var plainFile = netwatch.Pattern(`^/[A-Za-z0-9/._@+-]{1,255}$`)

// keyed says what to do where the keys are elsewhere: LiveKit heeds those of key_file
// before all others (read in its source), and those of its environment before those of its
// file (measured, 1.9.11 and 1.13.5).
func (c livekitConfig) keyed() error {
	const behind = "write keys=%s behind the file in the step, then systemctl reload netwatch, which opens it to netwatch"
	switch {
	case plainFile().MatchString(c.KeyFile):
		return netwatch.WithHint(fmt.Errorf("%w: key_file is %s", ErrNoKeys, c.KeyFile), fmt.Sprintf(behind, c.KeyFile))
	case c.KeyFile != "":
		return netwatch.WithHint(fmt.Errorf("%w: key_file is %.64q", ErrNoKeys, c.KeyFile),
			fmt.Sprintf(behind, "PATH")+"; PATH begins with /")
	case len(c.Keys) == 0:
		return netwatch.WithHint(ErrNoKeys, "those of LIVEKIT_KEYS, --keys and --key-file cannot be seen from here: write "+
			"one of them into a file PATH that others cannot read, as key: secret; "+fmt.Sprintf(behind, "PATH"))
	}
	return nil
}

// relays are the listeners of the TURN server in it. That for TLS speaks TCP where another
// takes off the TLS before it.
func (c livekitConfig) relays() (all []Listener) {
	if !isYes(c.Turn.Enabled) {
		return nil
	}
	if c.Turn.UDP != 0 {
		all = append(all, Listener{Over: UDP, Port: c.Turn.UDP})
	}
	switch {
	case c.Turn.TLS == 0:
	case isYes(c.Turn.External):
		all = append(all, Listener{Over: TCP, Port: c.Turn.TLS})
	default:
		all = append(all, Listener{Over: TLS, Port: c.Turn.TLS})
	}
	return all
}

// addressesOf are the addresses among texts.
func addressesOf(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// At is where to ask: over loopback where it listens there, since callers are told the
// same wherever they ask.
func (c Calls) At() (netip.AddrPort, error) {
	a, err := near(c.Listening)
	return netip.AddrPortFrom(a, c.Port), err
}

// RelayAt is where to ask a listener of its TURN server, which lends the same wherever it
// is asked.
func (c Calls) RelayAt(l Listener) (netip.AddrPort, error) {
	a, err := near(c.RelaysAt)
	return netip.AddrPortFrom(a, l.Port), err
}

// near is where to ask a server that listens at some addresses, or at all.
func near(listening []netip.Addr) (netip.Addr, error) {
	if len(listening) == 0 || slices.ContainsFunc(listening, netip.Addr.IsUnspecified) {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	for _, a := range listening {
		if a.IsLoopback() || Reaches(a) {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("none of its bind_addresses can be asked at")
}
