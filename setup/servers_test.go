package setup_test

import (
	"strings"
	"testing"

	"netwatch"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/setup"
)

const flagMark = "/etc/systemd/system/synapse-livekit.service.d/zz-netwatch-flag.conf"

// shown is what a plan says that is to be done.
func shown(t *testing.T, files machinetest.Files) string {
	t.Helper()
	tree := files.Build(t)
	plan, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	plan.Print(&b)
	return b.String()
}

// The drop-in that netwatch grant will write is shown before anything is, unless it stands
// already, or no rule makes it necessary.
func TestDropInIsShown(t *testing.T) {
	calls := machinetest.Machines["yunohost-calls"]
	without := "ExecStart=/opt/yunohost/matrix-synapse/livekit-server --config /etc/matrix-synapse/livekit.yml\n"
	said := shown(t, calls)
	for _, want := range []string{
		"netwatch.service does, will write " + flagMark + ",\nby which systemd makes /run/systemd/generator/" +
			"synapse-livekit.service.d/zz-netwatch-without-flag.conf each time that it reads its units\n    + # Made by",
		"and write before that node_ip 203.0.113.5 into /etc/matrix-synapse/livekit.yml, which names no address\n",
		"\n    + [Service]\n    + ExecStart=\n    + " + without, "/synapse__2-livekit.service.d/zz-netwatch-flag.conf,\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not show %q:\n%s", want, said)
		}
	}
	said = shown(t, calls.And(machinetest.Files{flagMark: "# Written by netwatch grant\n"}))
	if strings.Contains(said, flagMark) || !strings.Contains(said, "synapse__2-livekit.service.d/") {
		t.Errorf("it shows what stands:\n%s", said)
	}
	own := calls.And(machinetest.Files{
		conf: "[source.stun]\n\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn /etc/turnserver.conf\"]\n",
	})
	if said := shown(t, own); strings.Contains(said, "zz-netwatch-flag.conf") {
		t.Errorf("no rule rotates its file:\n%s", said)
	}
}

// Where nothing can be written for the one server that is there, it is said why.
func TestRefusedAlone(t *testing.T) {
	tree := machinetest.Files{
		"/etc/systemd/system/livekit.service": "[Service]\nExecStart=/usr/bin/livekit-server --config /etc/livekit.yml\n",
		"/etc/livekit.yml":                    "rtc:\n  node_ip: here\n",
	}.Build(t)
	_, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{})
	const want = "livekit.service with /etc/livekit.yml is left alone: line 2, column 12"
	if err == nil || !strings.Contains(err.Error(), want) ||
		netwatch.Hint(err) == "" {
		t.Error(err, netwatch.Hint(err))
	}
}
