package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/control"
)

// ourName is the name of the machine among the others.
const ourName = "turn1"

// mqttText is what is in the configuration of a world with other machines.
const mqttText = `
[source.mqtt]
broker = "mqtt://192.168.1.9"
host = "turn1"
password = "@%s"

[[rule]]
name = "others"
on = ["ip-changed", "cert-renewed", "route-changed", "file-changed"]
do = ["tell"]

[[rule]]
name = "another"
on = ["peer-changed"]
match = { peer = "gateway", told = "route-changed" }
do = ["exec /usr/local/bin/another"]
`

// A broker is that of all machines. Netwatch alone is connected to it: what the others say
// the world says for them.
type broker struct {
	*World
	does string
	// since is when it last became another.
	since time.Duration
	// kept is what each machine said last.
	kept     map[string][]byte
	sessions []*session
	// number is the largest that netwatch has said.
	number int64
}

func newBroker(w *World) *broker {
	return &broker{World: w, does: "works", kept: map[string][]byte{}}
}

// topicOf is where a machine says how it is.
func topicOf(host string) string { return "netwatch/" + host + "/state" }

// A session is one connection of netwatch's.
type session struct {
	*broker
	life       *life
	conn       net.Conn // the broker's end
	way        io.Closer
	out        chan *packets.ControlPacket
	user       string
	will       []byte
	subscribed bool
	// cut says that nothing comes over it any more, which nobody is told.
	cut, over bool
}

// reachBroker connects to the broker.
func (l *life) reachBroker(ctx context.Context, _ string) (net.Conn, error) {
	select {
	case <-time.After(l.lag("broker", time.Millisecond, 9*time.Millisecond)):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.broker
	if l.dead {
		return nil, errDead
	}
	if b.does == "is away" {
		l.story.fault("a broker that is away")
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	}
	// It comes from an address that stays: when netwatch ends one that has gone, it may say what
	// it has to say over that or over the next, which is chance.
	ours, theirs := newWires(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001},
		&net.TCPAddr{IP: net.IPv4(192, 168, 1, 9), Port: 1883})
	s := &session{broker: b, life: l, conn: theirs, way: ours, out: make(chan *packets.ControlPacket, 64)}
	l.beside(s.read)
	l.beside(s.write)
	l.ways = append(l.ways, ours)
	return ours, nil
}

// read takes what comes, until the connection ends. A broker has what it is told at once:
// two parts of netwatch may tell it something in one instant, and which is first is chance.
func (s *session) read() {
	for {
		p, err := packets.ReadPacket(s.conn)
		if err != nil {
			s.lost()
			return
		}
		s.mu.Lock()
		slow := s.does == "is slow" && p.Type == packets.CONNECT
		s.mu.Unlock()
		if slow {
			pass(s.lag("broker slow", 500*time.Millisecond, 2700*time.Millisecond))
		}
		s.mu.Lock()
		if !s.over && !s.cut && s.does != "does not answer" {
			s.take(p)
		}
		s.mu.Unlock()
	}
}

// write sends what goes out, until the connection ends.
func (s *session) write() {
	for p := range s.out {
		if _, err := p.WriteTo(s.conn); err != nil {
			break
		}
	}
	for range s.out { // Nobody takes it any more
	}
	_ = s.conn.Close()
}

// send has a packet go out, if there is room. w.mu is held.
func (s *session) send(kind byte, content packets.Packet) {
	if s.over || s.cut {
		return
	}
	p := packets.NewControlPacket(kind)
	p.Content = content
	select {
	case s.out <- p:
	default:
	}
}

// lost ends a session: who is gone without a word has his last will said.
func (s *session) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends()
}

// ends is lost for who holds w.mu.
func (s *session) ends() {
	if s.over {
		return
	}
	s.over = true
	close(s.out)
	s.broker.sessions = remove(s.broker.sessions, s)
	s.life.ways = remove(s.life.ways, s.way)
	if s.will != nil {
		s.broker.say(topicOf(s.user), s.will)
	}
}

// take does what a packet asks for. w.mu is held.
func (s *session) take(p *packets.ControlPacket) {
	switch m := p.Content.(type) {
	case *packets.Connect:
		s.welcome(m)
	case *packets.Subscribe:
		reasons := make([]byte, len(m.Subscriptions))
		s.send(packets.SUBACK, &packets.Suback{PacketID: m.PacketID, Reasons: reasons, Properties: &packets.Properties{}})
		s.subscribed = true
		for _, host := range append([]string{ourName}, machines...) {
			if text := s.kept[topicOf(host)]; text != nil {
				s.publish(topicOf(host), text, true)
			}
		}
	case *packets.Publish:
		ack := &packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}}
		if s.does == "takes no messages" {
			s.story.fault("a broker that takes no messages")
			ack.ReasonCode = packets.PubackNotAuthorized
		} else {
			s.heard(m.Payload)
			s.broker.say(m.Topic, m.Payload)
		}
		s.send(packets.PUBACK, ack)
	case *packets.Pingreq:
		s.send(packets.PINGRESP, packets.NewControlPacket(packets.PINGRESP).Content)
	case *packets.Disconnect:
		if m.ReasonCode == packets.DisconnectNormalDisconnection {
			s.will = nil
		}
		s.ends()
	}
}

// welcome takes one who connects, and throws out whom it knows by the same name. w.mu is
// held.
func (s *session) welcome(m *packets.Connect) {
	ack := &packets.Connack{Properties: &packets.Properties{}}
	if s.does == "knows nobody" {
		s.story.fault("a broker that knows nobody")
		ack.ReasonCode = packets.ConnackBadUsernameOrPassword
		s.send(packets.CONNACK, ack)
		return
	}
	if m.ClientID == "" {
		ack.Properties.AssignedClientID = m.Username
	}
	for _, old := range s.sessions {
		old.send(packets.DISCONNECT, &packets.Disconnect{
			ReasonCode: packets.DisconnectSessionTakenOver, Properties: &packets.Properties{},
		})
		old.ends()
	}
	s.user, s.will = m.Username, m.WillMessage
	s.sessions = append(s.sessions, s)
	s.send(packets.CONNACK, ack)
}

// say keeps what is said, and tells all of it. w.mu is held.
func (b *broker) say(topic string, text []byte) {
	b.kept[topic] = text
	if len(text) == 0 {
		delete(b.kept, topic)
	}
	for _, s := range b.sessions {
		if s.subscribed {
			s.publish(topic, text, false)
			if b.does == "says all twice" {
				b.story.fault("a message comes twice")
				s.publish(topic, text, false)
			}
		}
	}
}

// publish sends a message. w.mu is held.
func (s *session) publish(topic string, text []byte, retained bool) {
	s.send(packets.PUBLISH, &packets.Publish{
		Topic: topic, Payload: text, Retain: retained, Properties: &packets.Properties{},
	})
}

// A statement is what a machine says of itself.
type statement struct {
	Number, Connect int64
	Lost            bool
	Addresses       map[netwatch.Family]struct{ Address string }
	Told            []struct {
		Event, ID string
	}
}

func statementOf(text []byte) (s statement) {
	_ = json.Unmarshal(text, &s) // What is none says nothing
	return s
}

// heard looks at what netwatch says of the machine: its numbers only grow. w.mu is held.
func (s *session) heard(text []byte) {
	said := statementOf(text)
	if said.Number <= s.number && !s.life.dead {
		s.World.broken("netwatch says a number that is not larger than before")
	}
	s.number = max(s.number, said.Number)
}

// hasTold says whether the others can know of an event. w.mu is held.
func (b *broker) hasTold(id string) bool {
	for _, h := range statementOf(b.kept[topicOf(ourName)]).Told {
		if h.ID == id {
			return true
		}
	}
	return false
}

// brokers has the broker behave otherwise.
func (w *World) brokers(n uint64) {
	all := []string{
		"works", "works", "is away", "does not answer", "knows nobody", "takes no messages", "is slow",
		"says all twice", "begins anew", "forgets all",
	}
	b := w.broker
	b.does, b.since = all[n%uint64(len(all))], w.now()
	w.tell("the broker %s", b.does)
	switch b.does {
	case "forgets all":
		clear(b.kept)
		b.hangUp()
		b.does = "works"
		w.anew()
	case "begins anew":
		b.hangUp()
		b.does = "works"
	case "is away", "knows nobody":
		b.hangUp()
	}
}

// hangUp ends all connections, as a broker does that ends. w.mu is held.
func (b *broker) hangUp() {
	for _, s := range b.sessions {
		s.ends()
	}
}

// cutOff has all connections lead nowhere. Both ends find that out later. w.mu is held.
func (b *broker) cutOff() {
	for _, s := range b.sessions {
		s.cut = true
		conn := s.conn
		time.AfterFunc(b.spanOf("cut", 10*time.Second, 17*time.Second), func() { _ = conn.Close() })
	}
}

// settled says whether it has worked for long enough that all know of all. w.mu is held.
func (b *broker) settled() bool { return b.does == "works" && b.now()-b.since > settledTime }

// misjudged is what netwatch believes of other machines that is not so, or what they could
// not know of it; or nothing. w.mu is held.
func (b *broker) misjudged(s control.Status) string {
	if !b.usual.mqtt || !b.settled() {
		return ""
	}
	ours := statementOf(b.kept[topicOf(ourName)])
	known := ""
	if a, is := s.Addresses[netwatch.IPv4]; is {
		known = a.Address.String()
	}
	all := viewsOf(s)
	if ours.Lost || ours.Addresses[netwatch.IPv4].Address != known {
		return fmt.Sprintf("the broker has of us: lost %v, %q, and our address is %s", ours.Lost,
			ours.Addresses[netwatch.IPv4].Address, known)
	}
	for _, m := range b.machines {
		if wrong := m.misjudged(all[m.name]); wrong != "" {
			return strings.TrimSpace(m.name + " " + wrong)
		}
	}
	return ""
}
