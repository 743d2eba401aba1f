//go:build lab

package sources

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"netwatch"
)

// mosquitto starts Debian's, on loopback, with its defaults.
func mosquitto(t *testing.T) Broker {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().(*net.TCPAddr)
	_ = free.Close()
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nuser root\n", at.Port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := exec.CommandContext(t.Context(), "mosquitto", "-c", conf)
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Wait() }) // It is killed
	return Broker("mqtt://" + at.String())
}

// dialed is a connection to it, as soon as it listens.
func dialed(t *testing.T, b Broker) net.Conn {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", b.url().Host)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

// keepMany has the broker keep what so many machines say.
func keepMany(t *testing.T, b Broker, many int) {
	t.Helper()
	conn := dialed(t, b)
	connect := packets.NewControlPacket(packets.CONNECT)
	connect.Content.(*packets.Connect).ClientID, connect.Content.(*packets.Connect).CleanStart = "many", true
	answered(t, conn, connect)
	for n := range many {
		p := packets.NewControlPacket(packets.PUBLISH)
		m := p.Content.(*packets.Publish)
		m.Topic, m.Retain, m.Payload = fmt.Sprintf("netwatch/h%d/state", n), true, stands(1, nil).text()
		m.QoS, m.PacketID = 1, 1
		answered(t, conn, p)
	}
}

// answered sends a packet and waits for the answer.
func answered(t *testing.T, conn net.Conn, p *packets.ControlPacket) {
	t.Helper()
	if _, err := p.WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := packets.ReadPacket(conn); err != nil {
		t.Fatal(err)
	}
}

// Of three thousand machines all are known, though a broker keeps no more than a thousand
// messages for one who does not read as fast as they come.
func TestManyMachinesAtMosquitto(t *testing.T) {
	const many = 3000
	b := mosquitto(t)
	keepMany(t, b, many)
	l := newListener(t, map[string]string{})
	l.settings.Broker = b
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.mqtt.Run(ctx, l.emit) }()
	here := 0
	for until := time.Now().Add(20 * time.Second); here < many && time.Now().Before(until); {
		<-time.After(50 * time.Millisecond)
		here = 0
		for _, p := range l.Peers() {
			if p.State == netwatch.PeerHere {
				here++
			}
		}
	}
	if here != many {
		t.Errorf("of %d machines %d are heard", many, here)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
