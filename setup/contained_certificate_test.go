package setup_test

import (
	"strings"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/setup"
)

// The certificate of a coturn in a container has a rule, by what its unit can do: a signal to the
// unit would reach the engine. So has that of LiveKit.
func TestContainedCertificateIsRead(t *testing.T) {
	livekit := machine.Find(machinetest.Calls("synapse").Build(t), "/usr/bin/netwatch").Servers
	if len(livekit) != 1 {
		t.Fatalf("there is %+v", livekit)
	}
	cert := machine.Certificate{File: "/srv/certs/full.pem", Key: "/srv/certs/key.pem", Open: true}
	const rule = "match = { file = \"/srv/certs/full.pem\" }\ndo    = [\""
	for verb, m := range map[string]machine.Machine{
		"restart t.service":           {Turns: []machine.Turn{{Certificate: cert, Renews: "restart"}}},
		"reload-or-restart t.service": {Turns: []machine.Turn{{Certificate: cert, Renews: "reload-or-restart"}}},
		"signal USR2 t.service":       {Turns: []machine.Turn{{Certificate: cert}}},
		"restart l.service":           {Servers: livekit},
	} {
		for i := range m.Turns {
			m.Turns[i].Unit, m.Turns[i].File = "t.service", "/t.conf"
		}
		for i := range m.Servers {
			m.Servers[i].Unit, m.Servers[i].Drain, m.Servers[i].Certificate = "l.service", "", cert
		}
		if text := setup.Text(m); !strings.Contains(text, rule+verb+"\"]\n") {
			t.Errorf("there is no %s:\n%s", verb, text)
		}
	}
}

// Of a certificate in the image it is said what is left to do, where the rest is kept right.
func TestContainedCertificateInTheImage(t *testing.T) {
	c := machine.Container{
		Server: "coturn", Engine: "docker", ID: "0123456789abcdef", Name: "turn", Inside: "/t.conf", File: "/srv/t.conf",
		Sealed: "/c.pem", Keeper: "netwatch-docker@turn.service", Source: "/srv/compose.yaml",
	}
	lines := setup.Contained(machine.Machine{Contained: []machine.Container{c}})
	const want = "coturn in docker turn: its certificate /c.pem is in the image, and no rule is for that: in " +
		"/srv/compose.yaml, mount the one of this machine that is renewed, then run netwatch init again"
	if len(lines) != 1 || lines[0] != want {
		t.Errorf("it says %q", lines)
	}
}
