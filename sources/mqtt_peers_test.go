package sources

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// What a machine said of its address is said of it; of one that has said none, as a router that
// only tells, addresses are an object all the same to a program that reads it.
func TestPeerWithoutAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		l.run(t, func() {
			l.hears("a", stands(1, nil), time.Second)
			l.hears("b", stands(1, func(b *bulletin) { b.Addresses[netwatch.IPv4] = netwatch.Address{Address: host(7)} }), 0)
			<-time.After(time.Second)
		})
		text, err := json.Marshal(l.Peers())
		for _, want := range []string{`"addresses":{}`, `"addresses":{"ipv4":{"address":"` + host(7).String()} {
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s, %v", text, err)
			}
		}
	})
}

// While the broker is not reached nothing is written for each try: on a router that would
// wear out its flash. Once one was reached, the next connection has a number of its own.
func TestMQTTTriesWriteNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		written, see := 0, l.env.See
		l.env.See = func(event, of, value string) error {
			written++
			return see(event, of, value)
		}
		numbers := map[int64]int{}
		connect := func(reached bool) {
			will, err := l.begin()
			if err != nil {
				t.Fatal(err)
			}
			w, err := parseBulletin(will)
			if err != nil || w.Number != w.Connect {
				t.Fatalf("%+v, %v", w, err)
			}
			numbers[w.Number]++
			if reached {
				l.dialled(&net.TCPConn{})
			}
			<-time.After(2 * time.Second)
		}
		for range 100 {
			connect(false)
		}
		connect(true)
		connect(true)
		if len(numbers) != 2 || written != 2 {
			t.Errorf("%d numbers, written %d times", len(numbers), written)
		}
	})
}

// A machine whose clock is behind, as a router's after its start, is not told to have the
// broker's certificate renewed.
func TestMQTTRemedyOfTheClock(t *testing.T) {
	s, _ := newMQTT().(*MQTT)
	for ahead, want := range map[time.Duration]string{
		time.Hour: "set the clock", -time.Hour: "renew the broker's certificate",
	} {
		cert := &x509.Certificate{NotBefore: time.Now().Add(ahead), NotAfter: time.Now().Add(2 * ahead)}
		err := x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired}
		if got := s.Source("mqtt", Env{}).(*mqtt).remedy(fmt.Errorf("tls: %w", err)); !strings.HasPrefix(got, want) {
			t.Errorf("from in %s on: %s", ahead, got)
		}
	}
}

// A machine that has lost its state, and whose clock is behind, as a router after its start,
// learns from the broker what it had said, although that comes together with what it says
// now; and what it has told since its start is new to others, too.
func TestMQTTNumbersGrowBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		l.run(t, func() {
			l.hand([]netwatch.Event{netwatch.NewEvent(netwatch.Started, "s", nil), netwatch.NewEvent("mark", "s", nil)})
			l.mu.Lock()
			before := l.next()
			l.mu.Unlock()
			last := before.Number + 1000*3600*1000
			l.peers.deliver("self", bulletin{Number: last, Connect: last}.text())
			l.peers.deliver("self", before.text())
			<-time.After(time.Second)
			l.mu.Lock()
			now := l.next()
			l.mu.Unlock()
			if now.Number <= last || now.told(netwatch.Started).Number <= last || now.told("mark").Number <= last {
				t.Errorf("after %d: %+v", last, now)
			}
			if _, err := parseBulletin(now.text()); err != nil || len(now.Told) != 2 {
				t.Errorf("%+v, %v", now, err)
			}
		})
	})
}
