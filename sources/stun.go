package sources

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"netwatch"
)

// A STUN is the settings of a source that asks STUN servers for the public
// address of this machine and emits ip-changed.
type STUN struct {
	// Servers are asked in turn.
	Servers []Server `toml:"servers"`
	// Every is the time between two polls.
	Every netwatch.Duration `toml:"every"`
	// Agree is how many servers must say the same before it is believed.
	Agree int `toml:"agree"`
	// Families are those that are asked for.
	Families []netwatch.Family `toml:"families"`
	// Timeout is how long one server may take to answer.
	Timeout netwatch.Duration `toml:"timeout"`
	// Interface is the network interface over which to ask; empty is any.
	Interface string `toml:"interface"`
	// Accept are prefixes that count as public although they are not.
	Accept []netip.Prefix `toml:"accept"`
}

// The bounds of the settings' durations.
const (
	leastEvery   = 100 * time.Millisecond
	leastTimeout = 10 * time.Millisecond
	mostTimeout  = 30 * time.Second
)

func newSTUN() Settings {
	return &STUN{
		Servers: []Server{"stun.cloudflare.com:3478", "stun.nextcloud.com:3478", "stun.sipgate.net:3478"},
		Every:   netwatch.Duration(15 * time.Second),
		Agree:   2, Families: slices.Clone(netwatch.Families), Timeout: netwatch.Duration(time.Second),
	}
}

// Check lists what is wrong beyond the types of single values.
func (s *STUN) Check() []Mistake {
	var all []Mistake
	wrong := func(is bool, key string, index int, format string, args ...any) {
		if is {
			all = append(all, Mistake{key, index, fmt.Sprintf(format, args...)})
		}
	}
	for i, server := range s.Servers {
		wrong(slices.Contains(s.Servers[:i], server), "servers", i, "%s is there twice, and would agree with itself", server)
	}
	for i, f := range s.Families {
		wrong(slices.Contains(s.Families[:i], f), "families", i, "%s is there twice", f)
	}
	wrong(len(s.Servers) == 0, "servers", -1, "there is no server to ask")
	wrong(len(s.Families) == 0, "families", -1, "there is no family to ask for")
	wrong(s.Agree < 1, "agree", -1, "at least 1 server must say an address")
	wrong(len(s.Servers) > 0 && s.Agree > len(s.Servers), "agree", -1, "%d servers must agree, but there are only %d", s.Agree, len(s.Servers))
	wrong(time.Duration(s.Every) < leastEvery, "every", -1, "%s is too often: at least %s", s.Every, leastEvery)
	wrong(time.Duration(s.Timeout) < leastTimeout || time.Duration(s.Timeout) > mostTimeout, "timeout", -1, "%s is not between %s and %s", s.Timeout, leastTimeout, mostTimeout)
	return all
}

// Source makes the source.
func (s *STUN) Source(name string, env Env) netwatch.Source {
	source := &stunSource{STUN: s, name: name, env: env, ask: s.query, probes: make(chan chan netwatch.Result)}
	for _, family := range s.Families {
		source.polls = append(source.polls, &familyPoll{stunSource: source, family: family, failing: map[Server]bool{}})
	}
	return source
}

// All asks every server for every family, and answers in that order.
func (s *STUN) All(ctx context.Context) []Answer {
	all := make([]Answer, len(s.Families)*len(s.Servers))
	var wg sync.WaitGroup
	for i, family := range s.Families {
		for j, server := range s.Servers {
			wg.Go(func() { all[i*len(s.Servers)+j] = s.query(ctx, server, family) })
		}
	}
	wg.Wait()
	return all
}

// A Server is a STUN server as host:port.
type Server string

// defaultPort is STUN's over UDP (RFC 8489, 18.6).
const defaultPort = "3478"

// UnmarshalText takes "host", "host:port", "address", or "[address]:port".
func (s *Server) UnmarshalText(text []byte) error {
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		host, port = strings.Trim(string(text), "[]"), defaultPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if _, literal := netip.ParseAddr(host); err != nil || n == 0 || literal != nil && !hostName(host) {
		return fmt.Errorf("%q is not a server: host or host:port, as in \"stun.example.org:3478\"", text)
	}
	*s = Server(net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)))
	return nil
}

// hostName says that a text can be looked up: letters, digits, hyphens and dots
// (RFC 1123, 2.1).
func hostName(text string) bool {
	if text == "" || len(text) > 253 || strings.Trim(text, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		strange := func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, strange) {
			return false
		}
	}
	return true
}

var networks = map[netwatch.Family]string{netwatch.IPv4: "ip4", netwatch.IPv6: "ip6"}

// lookup is the server's address of a family, looked up anew each time.
func (s Server) lookup(ctx context.Context, family netwatch.Family) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(string(s))
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, networks[family], host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up %s: %w", host, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(n)), nil
}

// A stunSource polls. It keeps no belief of its own: what was said is compared
// with what was accepted.
type stunSource struct {
	*STUN
	name   string
	env    Env
	ask    func(ctx context.Context, server Server, family netwatch.Family) Answer
	probes chan chan netwatch.Result
	polls  []*familyPoll
}

func (s *stunSource) String() string { return s.name }

// Run polls until ctx is done.
func (s *stunSource) Run(ctx context.Context, emit func(netwatch.Event)) error {
	jumps, err := clockJumps(ctx)
	if err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			s.poll(ctx, emit, false)
		case <-jumps:
			s.poll(ctx, emit, false)
		case reply := <-s.probes:
			replies := append(s.waiting(), reply)
			result := s.poll(ctx, emit, true)
			for _, r := range replies {
				r <- result
			}
		case <-ctx.Done():
			return nil
		}
		timer.Reset(time.Duration(s.Every))
	}
}

// waiting are the probes that share the next poll.
func (s *stunSource) waiting() (replies []chan netwatch.Result) {
	for {
		select {
		case reply := <-s.probes:
			replies = append(replies, reply)
		default:
			return replies
		}
	}
}

// Probe has all servers asked now, and returns once what they said is emitted.
func (s *stunSource) Probe(ctx context.Context) netwatch.Result {
	reply := make(chan netwatch.Result, 1)
	select {
	case s.probes <- reply:
	case <-ctx.Done():
		return netwatch.Failure(fmt.Errorf("asking %s: %w", s.name, context.Cause(ctx)))
	}
	select {
	case result := <-reply:
		return result
	case <-ctx.Done():
		return netwatch.Failure(fmt.Errorf("waiting for %s: %w", s.name, context.Cause(ctx)))
	}
}

// poll polls all families at the same time.
func (s *stunSource) poll(ctx context.Context, emit func(netwatch.Event), all bool) netwatch.Result {
	results := make([]netwatch.Result, len(s.polls))
	var wg sync.WaitGroup
	for i, p := range s.polls {
		wg.Go(func() { results[i] = p.poll(ctx, emit, all) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return netwatch.Failure(fmt.Errorf("asking %s: %w", s.name, context.Cause(ctx)))
	}
	return oneOf(results)
}

// oneOf is a result for all families: one that cannot be found out does not
// matter as long as another can.
func oneOf(results []netwatch.Result) netwatch.Result {
	all := netwatch.Result{Outcome: netwatch.Failed}
	var details []string
	var errs []error
	for _, r := range results {
		if r.Outcome == netwatch.Failed {
			errs = append(errs, r.Err)
			continue
		}
		if all.Outcome != netwatch.Changed {
			all.Outcome = r.Outcome
		}
		details = append(details, r.Detail)
	}
	if all.Outcome == netwatch.Failed {
		all.Err = errors.Join(errs...)
	}
	all.Detail = strings.Join(details, ", ")
	return all
}
