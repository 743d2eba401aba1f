package sources

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"netwatch"
)

// A Router is the settings of a source that asks the gateway of the way out for its
// address (NAT-PMP, RFC 6886), hears what it announces, and emits router-changed. What it
// says is a reason to ask the servers, and never an address to write.
type Router struct {
	// Gateway is the router's address on our network, or auto: that of the way out,
	// unless a VPN is.
	Gateway Gateway `toml:"gateway"`
	// Every is the time from one question to the next, at least 250ms. Where
	// announcements arrive it is eight times as long, until one is missed.
	Every netwatch.Duration `toml:"every"`
}

// A Gateway is the IPv4 address of a router, or auto.
type Gateway string

// auto stands for the gateway of the way out.
const auto Gateway = "auto"

// UnmarshalText takes auto or an IPv4 address.
func (g *Gateway) UnmarshalText(text []byte) error {
	*g = Gateway(text)
	if a := g.addr(); *g != auto && (!a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback()) {
		return fmt.Errorf("%q is not a router: auto, or its IPv4 address, as in \"192.168.1.1\"", text)
	}
	return nil
}

// addr is the address; invalid for auto.
func (g Gateway) addr() netip.Addr {
	a, _ := netip.ParseAddr(string(g)) // Of auto there is none
	return a
}

// The pace of the questions.
const (
	// hastyEvery is the time between questions for hastyTime, after a hint, when the
	// router or the way out falls silent, and when the servers do.
	hastyEvery = 250 * time.Millisecond
	hastyTime  = 10 * time.Second
	// heardFactor is how many times rarer a router is asked whose announcements arrive.
	heardFactor = 8
	// upnpFactor is the same for one that is asked over UPnP, at fifty times the bytes.
	upnpFactor = 2
	// wayTime is how long a router that answers is taken for that of the way out.
	wayTime = 10 * time.Second
	// mostTries is how often a router is asked at once that was never heard.
	mostTries = 3
	// givenUp is after how long a silence there seems to be no router that answers, and
	// silentEvery how often one that does not is asked at most.
	givenUp     = 10 * time.Minute
	silentEvery = 30 * time.Second
)

func newRouter() Settings { return &Router{auto, netwatch.Duration(2 * time.Second)} }

// Check lists what is wrong beyond the types of single values.
func (r *Router) Check() (all []Mistake) {
	if time.Duration(r.Every) < hastyEvery {
		all = append(all, Mistake{"every", -1, fmt.Sprintf("%s is too often: at least %s", r.Every, hastyEvery)})
	}
	return all
}

// Claims is the router: two sources would hear everything twice.
func (r *Router) Claims() (key string, values []string) {
	return "gateway", []string{string(r.Gateway)}
}

// Source makes the source.
func (r *Router) Source(name string, env Env) netwatch.Source {
	return &routerSource{
		name: name, every: time.Duration(r.Every), env: env, dial: env.contact(r.contact), lost: make(chan struct{}),
	}
}

// A contact is how a router is found, asked and heard.
type contact interface {
	// Find is the router now: the zero value when there is none.
	Find(asked []Asked) (uplink, error)
	// Ask asks it once.
	Ask(ctx context.Context, to uplink) (saying, error)
	// Listen hears what it announces until the next Listen or Close.
	Listen(ctx context.Context, to uplink) (<-chan saying, error)
	Close()
}

// A routerSource asks and hears one router at a time.
type routerSource struct {
	name  string
	every time.Duration
	env   Env
	dial  func() (contact, error)

	mu     sync.Mutex // guards what follows
	status netwatch.Router
	// vouched is the address that the router says and that may be relied upon, and lost
	// is closed when it is that no longer.
	vouched netip.Addr
	lost    chan struct{}
	deaf    error // why its announcements are not heard
}

// String is the name in the configuration.
func (s *routerSource) String() string { return s.name }

// Run asks and listens until ctx is done, and then returns nil. It returns an error
// when the kernel cannot be asked for the way out.
func (s *routerSource) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	l, err := s.dial()
	if err != nil {
		return err
	}
	defer l.Close()
	c := &correspondence{
		routerSource: s, ctx: ctx, contact: l, emit: emit, hints: hints{pause: firstHintPause}, cancel: func() {},
	}
	defer c.looking.Wait()
	defer func() { c.cancel(); s.withdraw() }()
	return c.run()
}

// Router is how the router stands; false while there is none to ask.
func (s *routerSource) Router() (netwatch.Router, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.status.Gateway.IsValid()
}

// Vouched is closed when the router no longer says that address. It is nil if it does
// not say it now, or is not a router of our own network.
func (s *routerSource) Vouched(a netip.Addr) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.IsValid() || s.vouched != a {
		return nil
	}
	return s.lost
}

// Trouble is why what the router announces is not heard, or nil.
func (s *routerSource) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deaf
}

// vouch notes how the router stands.
func (s *routerSource) vouch(status netwatch.Router) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	now := netip.Addr{}
	if g := status.Gateway; status.Healthy && (g.IsPrivate() || g.IsLinkLocalUnicast()) {
		now = status.Address
	}
	if now != s.vouched {
		close(s.lost)
		s.vouched, s.lost = now, make(chan struct{})
	}
}

// withdraw notes that nobody asks the router any more.
func (s *routerSource) withdraw() { s.vouch(netwatch.Router{}) }
