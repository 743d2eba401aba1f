package sources

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"

	"netwatch"
)

// An MQTT is the settings of a source that tells other machines, by a broker (MQTT 5),
// what our public address is and what tell steps hand on, and hears the same of them. It
// emits peer-changed, peer-lost and peer-back. What they say is a reason to look, and
// never an address of ours.
type MQTT struct {
	// Broker is where the broker listens: mqtts://HOST[:8883], or mqtt://HOST[:1883].
	Broker Broker `toml:"broker"`
	// Host is our name there.
	Host PeerName `toml:"host"`
	// User is whom the broker knows us as; Host unless given.
	User string `toml:"user"`
	// Password is the file with the password, after an @.
	Password PasswordFile `toml:"password"`
	// CA is a file with the certificates that vouch for the broker's; empty is those that
	// this machine trusts.
	CA CAFile `toml:"ca"`
	// Topic is what all our topics begin with.
	Topic Topic `toml:"topic"`
	// Plain says that mqtt:// may go over the internet.
	Plain bool `toml:"plain"`
	// Serve are the machines that we look at from outside when they ask for it.
	Serve []PeerName `toml:"serve"`
}

// A Broker is the address of a broker as a URL with its port.
type Broker string

// UnmarshalText takes mqtts://HOST and mqtt://HOST, both with or without a port.
func (b *Broker) UnmarshalText(text []byte) error {
	scheme, rest, _ := strings.Cut(string(text), "://")
	usual := map[string]string{"mqtts": "8883", "mqtt": "1883"}[scheme]
	address, ok := netwatch.HostPort(rest, usual)
	if usual == "" || !ok {
		// Not what it is: a password can be in it.
		return errors.New(`is not mqtts://HOST[:PORT] or mqtt://HOST[:PORT], as in "mqtts://broker.example.org"`)
	}
	*b = Broker(scheme + "://" + address)
	return nil
}

// safe says whether TLS or the network keeps strangers from reading along.
func (b Broker) safe() bool {
	host, _, _ := net.SplitHostPort(b.url().Host)
	a, err := netip.ParseAddr(host)
	return b.tls() || host == "localhost" || err == nil && private(a)
}

func (b Broker) tls() bool { return strings.HasPrefix(string(b), "mqtts:") }

func (b Broker) url() *url.URL {
	u, err := url.Parse(string(b))
	if err != nil { // It was parsed
		return &url.URL{}
	}
	return u
}

// A PeerName is the name of a machine among the others.
type PeerName string

var peerName = netwatch.Pattern(`^[a-z0-9.-]{1,63}$`)

// UnmarshalText takes small letters, digits, dots and hyphens.
func (n *PeerName) UnmarshalText(text []byte) error {
	if !peerName().Match(text) {
		return fmt.Errorf("%q is not a name of a machine: 1 to 63 small letters, digits, dots and hyphens", text)
	}
	*n = PeerName(text)
	return nil
}

// A PasswordFile is a file that holds a password.
type PasswordFile netwatch.Path

// UnmarshalText takes @FILE, and does not say what else it was given.
func (p *PasswordFile) UnmarshalText(text []byte) error {
	name, is := strings.CutPrefix(string(text), "@")
	if !is {
		return netwatch.WithHint(errors.New("must be in a file: @ and its path"),
			"write it into a file that others may not read, and name that, as in \"@/etc/netwatch/mqtt.password\"")
	}
	file, err := netwatch.ParsePath(name)
	*p = PasswordFile(file)
	return err
}

// A CAFile is a file of certificates, or empty.
type CAFile netwatch.Path

// UnmarshalText takes an absolute path, and nothing.
func (c *CAFile) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = ""
		return nil
	}
	file, err := netwatch.ParsePath(string(text))
	*c = CAFile(file)
	return err
}

// A Topic is the beginning of topics.
type Topic string

var topicPattern = netwatch.Pattern(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)

// UnmarshalText takes one level or several, without wildcards.
func (t *Topic) UnmarshalText(text []byte) error {
	if !topicPattern().Match(text) || len(text) > maxText {
		return fmt.Errorf("%q is not the beginning of a topic, as in \"netwatch\" or \"home/netwatch\"", text)
	}
	*t = Topic(text)
	return nil
}

// state is where a machine says how it is; + stands for each machine.
func (t Topic) state(host string) string { return string(t) + "/" + host + "/state" }

// host is the machine whose state a topic is, or empty.
func (t Topic) host(topic string) string {
	host, is := strings.CutSuffix(topic, "/state")
	host, ours := strings.CutPrefix(host, string(t)+"/")
	if !is || !ours || !peerName().MatchString(host) {
		return ""
	}
	return host
}

func newMQTT() Settings { return &MQTT{Topic: "netwatch"} }

// Check lists what is wrong beyond the types of single values.
func (m *MQTT) Check() (all []Mistake) {
	if m.Broker == "" {
		all = append(all, Mistake{"broker", -1, `is missing: where the broker is, as in "mqtts://broker.example.org:8883"`})
	}
	if m.Host == "" {
		all = append(all, Mistake{"host", -1, `is missing: the name of this machine among the others, as in "turn1"`})
	}
	if m.Password == "" {
		all = append(all, Mistake{"password", -1, `is missing: the file that holds it, as in "@/etc/netwatch/mqtt.password"`})
	}
	if m.Broker != "" && !m.Broker.safe() && !m.Plain {
		all = append(all, Mistake{"broker", -1, "without TLS the password and all that is said go over the internet for " +
			"everyone to read and change: mqtts://, or an address of loopback or a private network; plain = true if it must be"})
	}
	if m.CA != "" && m.Broker != "" && !m.Broker.tls() {
		all = append(all, Mistake{"ca", -1, "is for mqtts:// alone"})
	}
	if err := netwatch.CheckPlain(m.User); err != nil {
		all = append(all, Mistake{"user", -1, err.Error()})
	}
	return append(all, m.checkServe()...)
}

// maxServe is how many machines one may serve, since its state says them all.
const maxServe = 32

// checkServe lists what is wrong with whom it serves.
func (m *MQTT) checkServe() (all []Mistake) {
	for i, name := range m.Serve {
		switch {
		case name == m.Host:
			all = append(all, Mistake{"serve", i, "is the name of this machine itself, which cannot look from outside"})
		case slices.Contains(m.Serve[:i], name):
			all = append(all, Mistake{"serve", i, fmt.Sprintf("names %s again", name)})
		}
	}
	if len(m.Serve) > maxServe {
		all = append(all, Mistake{"serve", -1, fmt.Sprintf("has %d names, and may have %d", len(m.Serve), maxServe)})
	}
	return all
}

// Looks says whether it looks at some machines from outside.
func (m *MQTT) Looks() bool { return len(m.Serve) > 0 }

// Claims is our name at the broker: who connects by it throws the other out.
func (m *MQTT) Claims() (key string, values []string) {
	return "host", []string{string(m.Host) + " at " + string(m.Broker)}
}

// Needs are the files that it reads at each connect.
func (m *MQTT) Needs() (n Needs) {
	for _, file := range []netwatch.Path{netwatch.Path(m.Password), netwatch.Path(m.CA)} {
		if file != "" {
			n.Reads = append(n.Reads, file)
		}
	}
	return n
}

// Tells is the broker.
func (m *MQTT) Tells() string { return string(m.Broker) }

// Forgetting is how what a machine said that is no more is taken from the broker. Only it
// may do that, by its password.
func (m *MQTT) Forgetting(host string) string {
	at, port, _ := net.SplitHostPort(m.Broker.url().Host)
	trust := ""
	if m.Broker.tls() {
		trust = " --capath /etc/ssl/certs"
	}
	if m.CA != "" {
		trust = " --cafile " + netwatch.ShellPath(string(m.CA))
	}
	return fmt.Sprintf("take what it said from the broker, with its password: mosquitto_pub -V 5 -q 1 -h %s -p %s%s "+
		"-u %s -P PASSWORD -t %s -r -n", at, port, trust, host, m.Topic.state(host))
}

// user is whom the broker knows us as.
func (m *MQTT) user() string {
	if m.User != "" {
		return m.User
	}
	return string(m.Host)
}

// Source makes the source.
func (m *MQTT) Source(name string, env Env) netwatch.Source {
	s := &mqtt{
		name: name, settings: *m, env: env,
		up: make(chan struct{}, 1), changed: make(chan struct{}, 1), saying: make(chan struct{}, 1),
		logged: map[*error]complaint{},
	}
	s.peers, s.asking, s.serving, s.pass = newPeers(s), newAsking(s), newServing(s), s.aside
	s.lives, s.loses = context.WithCancel(context.Background())
	return s
}

// The pace of what goes to the broker.
const (
	// keepAlive is how often a connection is tried on which nothing is said.
	keepAlive = time.Minute
	// brokerTime is how long the broker may take for an answer. Then the connection is
	// made anew: most often the way to it is another now.
	brokerTime = 3 * time.Second
	// dialTime is how long it may take until there is a connection.
	dialTime = 10 * time.Second
	// awaitTime is how long telling waits for a connection that is being made.
	awaitTime = 5 * time.Second
	// firstRetry is the pause after a connection that failed, which doubles up to
	// lastRetry, and after manyRetries of them is rareRetry.
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 2 * time.Second
	manyRetries = 200
	rareRetry   = 30 * time.Second
	// shortTime is how long a connection lasts at least that was worth making, and
	// manyShort how many that did not it takes until that is said.
	shortTime = 10 * time.Second
	manyShort = 3
	// repeatTime is after what we say anew what the broker did not take, or what did not come
	// back: that may have been put right, and no broker says so.
	repeatTime = 10 * time.Second
	// complaintPause is the time between two lines in the log that something is wrong.
	complaintPause = time.Minute
)

// probes has the kernel, which need not wake us for it, ask whether the other end of a
// connection is still there: one that was cut off while nobody had anything to say would
// be noticed by keepAlive alone, and what others said meanwhile comes no sooner.
var probes = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}

// An mqtt is connected to one broker. One goroutine says what we are to say (Run), one
// reads what others say (peers.run), and the library has its own.
type mqtt struct {
	name     string
	settings MQTT
	env      Env
	peers    *peers
	// asking is what we ask other machines, and serving what they ask us.
	asking  *asking
	serving *serving
	// pass is aside, or what stands for it in a test.
	pass func(ctx context.Context, kind, to string, message any) error
	// up wakes when there is a connection, and changed when there is something to say.
	up, changed chan struct{}
	// saying has room for who says something: one at a time, so that numbers arrive in their
	// order.
	saying chan struct{}

	mu sync.Mutex // guards what follows
	// own is what we said last, or are about to say.
	own bulletin
	// forgot says that the state did not have it, and that we have said nothing since.
	forgot bool
	// reserved says that the number own.Connect is in the state, and over no connection yet.
	reserved bool
	// manager is there while Run is.
	manager *autopaho.ConnectionManager
	conn    net.Conn
	// look looks after the connection until the broker says that we are connected.
	look *time.Timer
	// lives ends with the connection that came up last, and loses ends it.
	lives context.Context
	loses context.CancelFunc
	// reaching, writing and hearing are why the broker is not reached, does not take what
	// we say, and says that it does not let us hear others; deaf says that it does not although
	// it does not say so, and forgetting why a machine stays in the state.
	reaching, writing, hearing, deaf, forgetting error
	// ended is why the broker ends connections, until one has lasted.
	ended error
	// logged is what the log has of each of these.
	logged map[*error]complaint
	// lasts is called when the connection has lasted, and explained says that it is known
	// why it ends: we ended it, or the broker said why; short is how many in a row ended soon.
	lasts     *time.Timer
	explained bool
	short     int
	// said is what we said last, at saidAt, and back is closed when it has come back;
	// overheard says that what is asked of another came too.
	said      []byte
	saidAt    time.Time
	back      chan struct{}
	overheard bool
	// again is when what we are was said last, or will be, because of what others had at the
	// broker in our name.
	again time.Time
	// named has us connect by our own name, and names is what is known of the broker's.
	named bool
	names netwatch.Answer
	// slow is how many times in a row the broker did not answer in time.
	slow int
}

// String is the name in the configuration.
func (s *mqtt) String() string { return s.name }

// Run is connected, or tries to be, until ctx is done, and then returns nil. Before, it
// says that we are gone.
func (s *mqtt) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	s.recall()
	manager, err := autopaho.NewConnection(ctx, s.client())
	if err != nil {
		return fmt.Errorf("connecting to the broker: %w", err)
	}
	s.manage(manager)
	var reading sync.WaitGroup
	reading.Go(func() { s.peers.run(ctx, emit) })
	reading.Go(func() { s.serving.run(ctx) })
	s.serve(ctx)
	reading.Wait()
	select {
	case <-manager.Done():
	case <-time.After(brokerTime):
	}
	s.manage(nil)
	s.hangUp()
	s.end()
	return nil
}

// serve says what we are whenever there is a connection, and when it is another, until
// ctx is done.
func (s *mqtt) serve(ctx context.Context) {
	look := time.NewTimer(0)
	var again <-chan time.Time
	for {
		var said error
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if wait := s.listens(); wait > 0 {
				look.Reset(wait)
			} else if wait < 0 {
				again = time.After(repeatTime)
			}
			continue
		case <-again:
			wake(s.changed)
			continue
		case <-s.up:
			said = s.enter(ctx)
		case <-s.changed:
			s.leave()
			said = s.say(ctx)
		}
		if ctx.Err() == nil && !errors.Is(said, errUnconnected) { // When it is connected, it is said
			s.trouble(&s.writing, said)
		}
		look.Reset(brokerTime)
	}
}

func (s *mqtt) manage(m *autopaho.ConnectionManager) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manager = m
}

// Moved is told that our address is another.
func (s *mqtt) Moved() { wake(s.changed) }

// Peers are the other machines.
func (s *mqtt) Peers() []netwatch.Peer { return s.peers.all() }
