package sources

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// What the broker may send at once: messages that it need not wait for, and bytes of one.
const (
	maxInFlight = 64
	maxPacket   = maxBulletin + 4<<10
)

// client is how the library is to be connected. It keeps no session, here or there: what
// we are is said anew at each connect.
func (s *mqtt) client() autopaho.ClientConfig {
	return autopaho.ClientConfig{
		ServerUrls: []*url.URL{s.settings.Broker.url()}, KeepAlive: uint16(keepAlive / time.Second),
		ReconnectBackoff: s.pause, ConnectTimeout: dialTime + mostTime,
		AttemptConnection: s.attempt, ConnectPacketBuilder: s.connect,
		OnConnectionUp: func(_ *autopaho.ConnectionManager, c *paho.Connack) { s.connected(c) },
		OnConnectionDown: func() bool {
			s.lost()
			return true
		},
		OnConnectError: s.unreachable,
		DisconnectPacketBuilder: func() *paho.Disconnect {
			return &paho.Disconnect{ReasonCode: packets.DisconnectDisconnectWithWillMessage}
		},
		ClientConfig: paho.ClientConfig{
			ClientID: string(s.settings.Host), PacketTimeout: mostTime,
			OnServerDisconnect: func(d *paho.Disconnect) { s.thrownOut(d.ReasonCode) },
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){
				func(m paho.PublishReceived) (bool, error) {
					s.received(m.Packet)
					return true, nil
				},
			},
		},
	}
}

// received hands a message to those whom it is for. What one machine asks another, or
// answers, is never kept by the broker: who has it keep that is no netwatch.
func (s *mqtt) received(m *paho.Publish) {
	s.witness(m.Topic, m.Payload)
	from, kind, to := s.settings.Topic.asideOf(m.Topic)
	if kind == "" {
		s.peers.arrived(m.Retain)
		s.peers.deliver(s.settings.Topic.host(m.Topic), m.Payload)
		return
	}
	s.peers.await()
	switch {
	case m.Retain || to != string(s.settings.Host):
	case kind == asks:
		s.serving.deliver(from, m.Payload)
	default:
		s.asking.deliver(from, m.Payload)
	}
}

// pause is how long to wait before a connection is tried for the n-th time. What ends
// soon whenever it is made is a failure too. All machines of a broker that comes back do
// not come at once.
func (s *mqtt) pause(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	n += s.short
	d := min(lastRetry, firstRetry<<min(max(0, n-1), 16))
	switch {
	case n == 0:
		return 0
	case n > manyRetries:
		d = rareRetry
	}
	return d/2 + time.Duration(s.env.random()*float64(d/2))
}

// attempt makes the connection. What it sends is bounded before the library sees it.
func (s *mqtt) attempt(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	s.dialled(conn)
	return packets.NewThreadSafeConn(&bounded{Conn: conn}), nil
}

// dial reaches the broker, whose certificate is verified.
func (s *mqtt) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if s.env.Broker != nil {
		return s.env.Broker(ctx, s.settings.Broker.url().Host)
	}
	dialer := &net.Dialer{KeepAliveConfig: probes}
	dial := dialer.DialContext
	if s.settings.Broker.tls() {
		trusted, err := s.trusted()
		if err != nil {
			return nil, err
		}
		config := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
		dial = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext
	}
	return dial(ctx, "tcp", s.settings.Broker.url().Host)
}

// hangUp ends the connection, so that another is made.
func (s *mqtt) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.explained = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// trusted are the certificates that may vouch for the broker's; nil are those that this
// machine trusts.
func (s *mqtt) trusted() (*x509.CertPool, error) {
	file := string(s.settings.CA)
	if file == "" {
		return nil, nil
	}
	text, err := netwatch.ReadRegular(file, maxFile)
	if err != nil {
		return nil, unread(fmt.Errorf("reading ca: %w", err),
			"name the file with the certificate that signed the broker's, or leave ca out where everybody believes it")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, netwatch.WithHint(fmt.Errorf("reading ca: %s holds no certificate", file),
			"name a file of PEM with the certificate that signed the broker's")
	}
	return pool, nil
}

// connect is what is said first: who we are, what to say when we are gone, and how much
// we take.
func (s *mqtt) connect(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	if file := string(s.settings.Password); file != "" {
		password, err := netwatch.ReadSecret(file)
		if err != nil {
			return nil, unread(fmt.Errorf("reading the password in %s: %w", file, err), fmt.Sprintf("write the password "+
				"that the broker has for user %s into it, with mode 600; then netwatch grant", s.settings.user()))
		}
		c.PasswordFlag, c.Password = true, []byte(strings.TrimRight(password, "\r\n"))
	}
	will, err := s.begin()
	if err != nil {
		return nil, err
	}
	c.UsernameFlag, c.Username, c.CleanStart = true, s.settings.user(), true
	c.ClientID = s.clientID()
	size, flight := uint32(maxPacket), uint16(maxInFlight)
	c.Properties = &paho.ConnectProperties{MaximumPacketSize: &size, ReceiveMaximum: &flight}
	c.WillMessage = &paho.WillMessage{Retain: true, QoS: 1, Topic: s.topic(), Payload: will}
	c.WillProperties = &paho.WillProperties{}
	return c, nil
}

// unread adds to why a file is not read what to do, where it does not say so itself: a right
// to read it, or else something instead.
func unread(err error, instead string) error {
	switch {
	case netwatch.Hint(err) != "":
		return err
	case errors.Is(err, fs.ErrPermission):
		return netwatch.WithHint(err, netwatch.GrantHint)
	}
	return netwatch.WithHint(err, instead)
}

// topic is where we say what we are.
func (s *mqtt) topic() string { return s.settings.Topic.state(string(s.settings.Host)) }

// A bounded connection ends when a packet comes that is larger than we said we take: the
// library would make room for it, up to 256 MiB.
type bounded struct {
	net.Conn
	// body is what is left of the present packet, head how many bytes of its length have
	// come (MQTT 5, 1.5.5), after the first one, and size what they say so far.
	body, head, size int
}

var errLargePacket = fmt.Errorf("the broker sends more than %d bytes at once", maxPacket)

// Read reads, and looks at how long packets are.
func (b *bounded) Read(to []byte) (int, error) {
	n, err := b.Conn.Read(to)
	for part := to[:n]; len(part) > 0; {
		if skip := min(b.body, len(part)); skip > 0 {
			b.body, part = b.body-skip, part[skip:]
			continue
		}
		if b.length(part[0]); b.body > maxPacket || b.head > 4 { // The fourth byte of a length is its last
			_ = b.Close()
			return 0, errLargePacket
		}
		part = part[1:]
	}
	return n, err
}

// length takes one byte of the fixed header.
func (b *bounded) length(c byte) {
	if b.head++; b.head == 1 {
		b.size = 0
		return // The kind of packet
	}
	b.size |= int(c&0x7f) << (7 * (b.head - 2))
	if c&0x80 == 0 {
		b.body, b.head = b.size, 0
	}
}

// unreached says why the broker is not reached, and what helps.
func (s *mqtt) unreached(err error) error {
	refused := new(autopaho.ConnackError)
	if errors.As(err, &refused) {
		return s.refused(toConnect, refused.ReasonCode)
	}
	if inner := errors.Unwrap(err); inner != nil { // Without the library's words
		err = inner
	}
	if op := new(net.OpError); errors.As(err, &op) {
		op.Source = nil // It is another each time, and who reads it learns nothing by it
	}
	hint := netwatch.Hint(err)
	if hint == "" {
		hint = s.remedy(err)
	}
	return netwatch.WithHint(fmt.Errorf("reaching the broker %s: %w", s.settings.Broker, err), hint)
}

// remedy is what helps against an error of the network or of TLS.
func (s *mqtt) remedy(err error) string {
	name, expired := x509.HostnameError{}, x509.CertificateInvalidError{}
	unknown, plain := x509.UnknownAuthorityError{}, tls.RecordHeaderError{}
	switch {
	case errors.As(err, &name):
		return "name the broker as its certificate does, or give it a certificate for this name"
	case errors.As(err, &unknown):
		return "name the certificate that signed the broker's with ca = \"FILE\""
	case errors.As(err, &expired) && expired.Cert != nil && time.Now().Before(expired.Cert.NotBefore):
		return "set the clock of this machine, or wait until it is set by itself (NTP); netwatch tries again by itself"
	case errors.As(err, &expired):
		return "renew the broker's certificate and have it read it, on its machine: systemctl reload mosquitto.service"
	case errors.As(err, &plain):
		return "there is no TLS on this port: mqtts:// goes to 8883 most often, and 1883 is for mqtt://"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the broker hung up: see its log, and whether this port is for TLS (mqtts://)"
	}
	return "see whether the broker runs and may be reached from here; netwatch tries again by itself"
}
