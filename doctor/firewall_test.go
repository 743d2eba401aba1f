package doctor

import (
	"encoding/json"
	"os"
	"testing"

	"netwatch"
	"netwatch/servers"
)

// TestFirewall has what nft(8) prints for some rules (testdata), and what becomes of a
// caller by them. Where that depends on more than is known here, it is said to be unclear.
func TestFirewall(t *testing.T) {
	udp4, tcp4 := packet{netwatch.IPv4, servers.UDP, 3478}, packet{netwatch.IPv4, servers.TCP, 3478}
	udp6, tcp6 := packet{netwatch.IPv6, servers.UDP, 3478}, packet{netwatch.IPv6, servers.TCP, 3478}
	for _, c := range []struct {
		rules string
		p     packet
		want  answer
	}{
		{"none", udp4, yes},
		{"yunohost", udp4, no},
		{"yunohost", tcp6, no},
		{"yunohost", packet{netwatch.IPv4, servers.TCP, 5350}, yes},
		{"opens", udp4, yes},
		{"opens", tcp6, yes},
		{"opens", packet{netwatch.IPv4, servers.UDP, 3479}, no},
		{"opens", packet{netwatch.IPv4, servers.TCP, 3479}, yes},
		{"rejects", udp4, no},
		{"rejects", tcp4, no},
		{"rejects", udp6, yes},
		{"rejects", tcp6, yes},
		{"goes", udp4, yes},
		{"goes", tcp4, no},
		{"asks", udp4, maybe},
		{"asks", tcp6, no},
		{"forwards", udp4, yes},
		{"forwards", packet{netwatch.IPv4, servers.TCP, 80}, maybe},
	} {
		var r ruleset
		if c.rules != "none" {
			text, err := os.ReadFile("testdata/" + c.rules + ".json")
			if err == nil {
				err = json.Unmarshal(text, &r)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		is := maybe
		if open, err := r.lets(c.p); err == nil {
			is = answerOf(open)
		}
		if is != c.want {
			t.Errorf("%s, %+v: %d, and not %d", c.rules, c.p, is, c.want)
		}
	}
}
