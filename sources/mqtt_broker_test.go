package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/rs/zerolog"

	"netwatch"
)

// A fakeBroker is a broker that does what a real one does not: a deliberate fake.
type fakeBroker struct {
	net.Listener
	// connack and puback are the reasons that it gives, and silent of how many messages it
	// does not say that it has them; ends is at how many it ends the connection.
	connack, puback byte
	// suback is that to the last topic of those that somebody wants to hear.
	suback       byte
	silent, ends atomic.Int32
	// forgetful has it keep no messages, and say so.
	forgetful bool
	// said is all that clients said, one a line; a test reads it.
	said chan string
	// own is sent as it is to who subscribes.
	own []byte
	// hangs is the kind of packet after which it hangs up, or "reset".
	hangs string
	// assigns is the name that it gives to who connects without, and nameless the reason for
	// which it does not take him.
	assigns  string
	nameless byte

	mu      sync.Mutex // guards what follows
	clients []net.Conn
}

func newFakeBroker(t *testing.T, b *fakeBroker) *fakeBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.Listener, b.said = l, make(chan string, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.clients = append(b.clients, c)
			b.mu.Unlock()
			all.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for _, c := range b.clients {
			_ = c.Close()
		}
		b.mu.Unlock()
		all.Wait()
	})
	return b
}

// serve answers one client until it goes.
func (b *fakeBroker) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		if b.hangsUp(c, p) {
			return
		}
		answer := packets.NewControlPacket(packets.PINGRESP)
		switch of := p.Content.(type) {
		case *packets.Connect:
			b.said <- fmt.Sprintf("connect %s as %s %s, each %d s, will %s %s",
				of.ClientID, of.Username, of.Password, of.KeepAlive, of.WillTopic, of.WillMessage)
			answer = packets.NewControlPacket(packets.CONNACK)
			answer.Content.(*packets.Connack).ReasonCode = b.connack
			if of.ClientID == "" {
				answer.Content.(*packets.Connack).ReasonCode = max(b.connack, b.nameless)
				answer.Content.(*packets.Connack).Properties.AssignedClientID = b.assigns
			}
			if no := byte(0); b.forgetful {
				answer.Content.(*packets.Connack).Properties.RetainAvailable = &no
			}
		case *packets.Subscribe:
			var topics []string
			for _, wanted := range of.Subscriptions {
				topics = append(topics, wanted.Topic)
			}
			b.said <- "subscribe " + strings.Join(topics, " ")
			answer = packets.NewControlPacket(packets.SUBACK)
			reasons := bytes.Repeat([]byte{1}, len(topics))
			reasons[len(topics)-1] = max(1, b.suback)
			answer.Content.(*packets.Suback).PacketID, answer.Content.(*packets.Suback).Reasons = of.PacketID, reasons
		case *packets.Publish:
			b.said <- fmt.Sprintf("publish %s %s", of.Topic, of.Payload)
			if b.ends.Add(-1) >= 0 {
				return
			}
			if p.Flags != 3 { // QoS 1, and to be kept
				b.said <- fmt.Sprintf("aside %x for %d s: %s", p.Flags, *of.Properties.MessageExpiry, of.Payload)
			}
			if b.silent.Add(-1) >= 0 {
				continue
			}
			answer = packets.NewControlPacket(packets.PUBACK)
			answer.Content.(*packets.Puback).PacketID, answer.Content.(*packets.Puback).ReasonCode = of.PacketID, b.puback
		case *packets.Disconnect:
			b.said <- fmt.Sprintf("disconnect %d", of.ReasonCode)
			return
		}
		if _, err := answer.WriteTo(c); err != nil {
			return
		}
		if answer.Type == packets.SUBACK {
			_, _ = c.Write(b.own) // It may hang up over that
		}
	}
}

// hangsUp says whether it is to hang up now. At once it does so by a reset, as of a
// program that was killed.
func (b *fakeBroker) hangsUp(c net.Conn, p *packets.ControlPacket) bool {
	if b.hangs == "reset" {
		_ = c.(*net.TCPConn).SetLinger(0)
		return true
	}
	return b.hangs == p.PacketType()
}

// next waits for the next that a client said that begins so.
func (b *fakeBroker) next(t *testing.T, begin string) string {
	t.Helper()
	for {
		select {
		case said := <-b.said:
			if strings.HasPrefix(said, begin) {
				return said
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody said %q", begin)
		}
	}
}

// connectedTo runs a source at a broker until the test ends.
func connectedTo(t *testing.T, b *fakeBroker, m *MQTT) *mqtt {
	t.Helper()
	return connectedLogging(t, b, m, zerolog.Nop())
}

// connectedLogging is connectedTo with a log.
func connectedLogging(t *testing.T, b *fakeBroker, m *MQTT, log zerolog.Logger) *mqtt {
	t.Helper()
	m.Host, m.Topic, m.Broker = "self", "netwatch", Broker("mqtt://"+b.Addr().String())
	here := netwatch.Address{Address: netip.MustParseAddr("203.0.113.7"), By: []string{"stun.example"}}
	s := m.Source("mqtt", Env{
		Seen:   func(string, string) string { return "" },
		See:    func(string, string, string) error { return nil },
		Sights: func(string) map[string]string { return nil },
		Known:  func() netwatch.Addresses { return netwatch.Addresses{netwatch.IPv4: here} },
		Log:    log, Version: "v",
	}).(*mqtt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, func(netwatch.Event) error { return nil }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
	return s
}

// waitsFor waits until the trouble of a source has a text in it.
func waitsFor(t *testing.T, s *mqtt, text string) error {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		if err := s.Trouble(); err != nil && strings.Contains(err.Error(), text) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("there is no trouble with %q: %v", text, s.Trouble())
	return nil
}

// Who connects says who he is, what to say when he is gone, what he wants to hear and
// what he is; what is told is said again with it; and at the end he has himself called
// gone.
func TestMQTTConnects(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newFakeBroker(t, &fakeBroker{})
	t.Run("run", func(t *testing.T) {
		s := connectedTo(t, b, &MQTT{Password: PasswordFile(password), User: "me"})
		will := b.next(t, "connect self ")
		if !strings.HasPrefix(will, "connect self as me secret, each 60 s, will netwatch/self/state {") ||
			!strings.Contains(will, `"lost":true`) {
			t.Error(will)
		}
		if got := b.next(t, "subscribe"); got != "subscribe netwatch/+/state netwatch/+/answer/self" {
			t.Error(got)
		}
		if got := b.next(t, "publish"); !strings.Contains(got, `"ipv4":{"address":"203.0.113.7",`) {
			t.Error(got)
		}
		ev := netwatch.NewEvent(netwatch.RouteChanged, "netlink", map[string]string{"new": "tun0 - -", "interface": "x"})
		for range 2 {
			if err := s.Tell(t.Context(), []netwatch.Event{ev}); err != nil {
				t.Error(err)
			}
			if got := b.next(t, "publish"); strings.Count(got, ev.ID) != 1 || !strings.Contains(got, `"new":"tun0 - -"`) {
				t.Error(got)
			}
		}
	})
	if got := b.next(t, "disconnect"); got != "disconnect 4" {
		t.Error(got)
	}
}

// What the broker refuses is a failure with a remedy.
func TestMQTTRefusals(t *testing.T) {
	for code, want := range map[byte][2]string{
		128: {"an error that it does not name", "the broker's log"}, 135: {"not permitted", "ACL"},
	} {
		b := newFakeBroker(t, &fakeBroker{puback: code})
		s := connectedTo(t, b, &MQTT{})
		b.next(t, "publish")
		err := s.Tell(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "refuses to take netwatch/self/state: "+want[0]) ||
			!strings.Contains(netwatch.Hint(err), want[1]) {
			t.Errorf("%v; %s", err, netwatch.Hint(err))
		}
	}
	b := newFakeBroker(t, &fakeBroker{forgetful: true})
	s := connectedTo(t, b, &MQTT{})
	if err := waitsFor(t, s, "keeps no messages"); !strings.Contains(netwatch.Hint(err), "retained") {
		t.Error(netwatch.Hint(err))
	}
	for code, want := range map[byte]string{134: "wrong user or password", 135: "not permitted"} { // Mosquitto says 135
		b = newFakeBroker(t, &fakeBroker{connack: code})
		s = connectedTo(t, b, &MQTT{User: "me"})
		hint := netwatch.Hint(waitsFor(t, s, want))
		if !strings.Contains(hint, "user me and its password") || strings.Contains(hint, "ACL") {
			t.Error(hint)
		}
	}
}

// Who serves others hears what they ask, in a message that is not kept; what the broker
// kept all the same is none. A topic that it does not let us hear is said.
func TestMQTTServes(t *testing.T) {
	kept := "\x31\x17\x00\x13netwatch/a/ask/self\x00x" // A retained message
	b := newFakeBroker(t, &fakeBroker{own: []byte(kept), suback: 0x80})
	s := connectedTo(t, b, &MQTT{Serve: []PeerName{"a", "b"}})
	if got := b.next(t, "subscribe"); got != "subscribe netwatch/+/state netwatch/+/answer/self netwatch/+/ask/self" {
		t.Error(got)
	}
	if got := b.next(t, "publish"); !strings.Contains(got, `"serves":["a","b"]`) {
		t.Error(got)
	}
	if err := s.aside(t.Context(), asks, "a", request{ID: "x"}); err != nil {
		t.Error(err)
	}
	if got := b.next(t, "aside"); got != `aside 2 for 60 s: {"id":"x","address":"","ways":null,"name":"","password":""}` {
		t.Error(got)
	}
	if err := waitsFor(t, s, "to let us read netwatch/+/ask/self"); netwatch.Hint(err) == "" {
		t.Error(err)
	}
	if note := s.Serves(); note != "serves a, b" {
		t.Errorf("what was kept is taken: %s", note)
	}
}

// A broker that does not answer is connected to anew, and has it then.
func TestMQTTSilentBroker(t *testing.T) {
	b := newFakeBroker(t, &fakeBroker{})
	b.silent.Store(1)
	s := connectedTo(t, b, &MQTT{})
	b.next(t, "publish")
	b.next(t, "connect")
	b.next(t, "publish")
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Of a broker that sends ten megabytes none is kept, and netwatch goes on trying.
func TestMQTTHugeMessage(t *testing.T) {
	huge := []byte{0x30, 0x80, 0x80, 0x80, 5} // 10 MiB follow
	b := newFakeBroker(t, &fakeBroker{own: append(huge, make([]byte, 1<<20)...)})
	connectedTo(t, b, &MQTT{})
	for range 3 {
		b.next(t, "connect")
	}
}

// A password that everybody may read, or that is not there, is not sent, and why is said;
// to be granted a file helps only where there is one.
func TestMQTTPasswordFile(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.WriteFile(open, []byte("hunter2"), 0o600), os.Chmod(open, 0o604)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want, hint string }{
		{open, "every user may read", "chmod o= " + open},
		{open + "x", "no such file", "write the password that the broker has for user self into it"},
	} {
		b := newFakeBroker(t, &fakeBroker{})
		s := connectedTo(t, b, &MQTT{Password: PasswordFile(c.file)})
		err := waitsFor(t, s, c.want)
		if !strings.HasPrefix(netwatch.Hint(err), c.hint) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v; %s", err, netwatch.Hint(err))
		}
	}
}
