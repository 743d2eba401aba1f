package actions

import (
	"net/netip"
	"strings"
	"testing"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

// A pair whose private part this machine has not is that of a container unless the rule's unit
// runs coturn here, as one that calls an engine does not: else a right file would be made wrong.
func TestRotateElsewhere(t *testing.T) {
	own := netip.MustParseAddr("192.168.50.10")
	env := Env{Machine: Machine{Here: func() []netip.Addr { return []netip.Addr{own} }}}
	for line, here := range map[string]bool{
		"/usr/bin/turnserver -c /etc/turnserver.conf": true, "/bin/sh -c exec turnserver": true,
		"docker restart -- turn": false, "/usr/bin/podman run --name turn coturn turnserver -c /t": false,
		"/usr/local/bin/docker-compose up": false, "/bin/sh -c docker run coturn/coturn turnserver": false,
		"/usr/local/bin/turn-start": false,
	} {
		t.Run(line, func(t *testing.T) {
			f := systemdtest.New(t)
			words := strings.Fields(line)
			if words[0] == "/bin/sh" {
				words = []string{words[0], words[1], strings.Join(words[2:], " ")}
			}
			f.Set("ExecStart", []execStart{{Path: words[0], Args: words}})
			file, private := conf(t, "203.0.113.5/172.18.0.2"), "172.18.0.2"
			r := step(t, env, "rotate coturn "+file)
			wantResult(t, r.Do(t.Context(), netwatch.Job{
				Confirmed: netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("198.51.100.7"), Own: own}},
				Steps:     []netwatch.Step{r, step(t, env, "restart t.service")},
			}), netwatch.Changed)
			if here {
				private = own.String()
			}
			wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7/"+private+"\nport=3478\n")
		})
	}
}
