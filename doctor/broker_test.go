package doctor

import (
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
)

// Whatever a broker lets machines do that they should not is found, each with its remedy;
// and that all is well.
func TestBroker(t *testing.T) {
	now := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	well := netwatch.Broker{
		Source: "mqtt", Broker: "mqtts://b:8883", Host: "a", User: "a", Topic: "home", Until: now.AddDate(0, 0, 30),
		Names: netwatch.Yes, Speaks: netwatch.No, Overhears: netwatch.No,
	}
	for _, c := range []struct {
		name        string
		set         func(*netwatch.Broker)
		level       Level
		found, hint string
	}{
		{"well", func(*netwatch.Broker) {}, OK, "speaks for itself alone", ""},
		{"unknown", func(b *netwatch.Broker) { b.Speaks = "" }, Unknown, "could not be found out", ""},
		{"plain", func(b *netwatch.Broker) { b.Open = true }, Warning, "without TLS", "mqtts://"},
		{"speaks", func(b *netwatch.Broker) { b.Speaks = netwatch.Yes }, Warning, "speak for any", "pattern write home/%u/#"},
		{"hears", func(b *netwatch.Broker) { b.Overhears = netwatch.Yes }, Warning, "asked", "read home/+/ask/%u"},
		{"names", func(b *netwatch.Broker) { b.Names = netwatch.No }, Warning, "throws it out", "use_username_as"},
		{"user", func(b *netwatch.Broker) { b.User = "u" }, Warning, "knows us as u", `host = "u"`},
		{"ends", func(b *netwatch.Broker) { b.Until = now.AddDate(0, 0, 6) }, Warning, "2030-05-07", "certbot renew"},
		{"bad", func(b *netwatch.Broker) { b.Certificate = "x509: bad" }, Problem, "x509: bad", "certbot renew"},
	} {
		b := well
		c.set(&b)
		found := judgeBroker(b, control.Probed{}, now)
		if len(found) != 1 {
			t.Errorf("%s: %+v", c.name, found)
			continue
		}
		wants(t, c.name, found[0], c.level, c.found)
		if !strings.Contains(found[0].Hint, c.hint) {
			t.Errorf("%s: hint %q", c.name, found[0].Hint)
		}
	}
	if found := judgeBroker(well, control.Probed{Error: "down"}, now); found != nil {
		t.Errorf("what the daemon says already is said again: %+v", found)
	}
}

// A machine that is gone for long may be one that is no more.
func TestMachineLongGone(t *testing.T) {
	s := configured(t, `
[source.mqtt]
broker = "mqtts://b.example"
host = "a"
password = "@/p"
ca = "/etc/ca.crt"
[[rule]]
on = ["started"]
do = ["tell"]
`)
	f := s.judgePeer(netwatch.Peer{Peer: "old", State: netwatch.PeerGone, Since: time.Now().AddDate(0, 0, -31)})
	const want = "mosquitto_pub -V 5 -q 1 -h b.example -p 8883 --cafile /etc/ca.crt -u old -P PASSWORD " +
		"-t netwatch/old/state -r -n"
	if wants(t, "long gone", f, Warning, "it is gone since"); !strings.HasSuffix(f.Hint, want) {
		t.Error(f.Hint)
	}
}
