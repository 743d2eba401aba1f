package setup_test

import (
	"errors"
	"path"
	"strings"
	"testing"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/packaging"
	"netwatch/setup"
)

// What to do for a coturn in a container is what netwatch can do, and no more.
func TestContained(t *testing.T) {
	full := machine.Container{
		Engine: "docker", ID: "0123456789abcdef", Name: "turn", Inside: "/etc/coturn/turnserver.conf", File: "/srv/turn.conf",
		HostNetwork: true,
	}
	with := func(change func(*machine.Container)) machine.Container {
		c := full
		change(&c)
		return c
	}
	const rule = "`do = [\"rotate coturn /srv/turn.conf\", \"restart turn-restart.service\""
	for _, c := range []struct {
		machine.Container
		want string
	}{
		{full, "coturn in docker turn: no unit of systemd runs it"},
		{full, "`ExecStart=/usr/bin/docker restart turn` into /etc/systemd/system/turn-restart.service"},
		{full, "add to " + conf + " a [[rule]] with `on = [\"started\", \"ip-changed\"]` and " + rule +
			`, "verify turn /srv/turn.conf"]`},
		{with(func(c *machine.Container) { c.HostNetwork = false }), rule + "]"},
		{with(func(c *machine.Container) { c.Name = "" }), "docker 0123456789ab: no unit of systemd runs it, and netwatch " +
			"restarts nothing else: have one run it"},
		{with(func(c *machine.Container) { c.Engine = "podman" }), "make a quadlet of it"},
		{with(func(c *machine.Container) { c.Unit = "t.service" }), "turn: add to " + conf},
		{with(func(c *machine.Container) { c.Unit, c.Replaced = "t.service", true }), "systemctl restart t.service"},
		{with(func(c *machine.Container) { c.Users = true }), "it is of a user's own"},
		{with(func(c *machine.Container) { c.Inside = "" }), "started without a file"},
		{with(func(c *machine.Container) { c.File = "" }), "in what the container is made of, mount a file"},
		{with(func(c *machine.Container) { c.File, c.Source = "", "/srv/t.yaml" }), "in /srv/t.yaml, mount a file"},
	} {
		got := setup.Contained(machine.Machine{Contained: []machine.Container{c.Container}}, conf)
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("it does not say %q but %q", c.want, got)
		}
	}
}

// Without a coturn that it could keep right init fails, and says what to do for what
// there is.
func TestNoCoturn(t *testing.T) {
	for hint, m := range map[string]machine.Machine{
		"write " + conf + " by hand: netwatch.toml(5)": {},
		"systemctl enable --now t.service, then run this again": {
			Idle: []machine.Idle{{Remedy: "systemctl enable --now t.service"}},
		},
		"coturn in docker 0123456789ab: it is started without a file": {
			Contained: []machine.Container{{Engine: "docker", ID: "0123456789abcdef"}},
		},
		"see above what was not seen": {Unread: []error{errors.New("no")}},
	} {
		for _, files := range []machinetest.Files{{}, {conf: "# mine\n"}} {
			_, err := setup.NewPlan(files.Build(t), conf, m, setup.Wish{})
			if err == nil || !strings.Contains(netwatch.Hint(err), hint) {
				t.Errorf("the remedy is not %q but %q", hint, netwatch.Hint(err))
			}
		}
	}
}

// The example of the package has a rule for a coturn that is not here.
func TestExampleBesideContainer(t *testing.T) {
	m := machine.Machine{Contained: []machine.Container{{Engine: "docker", ID: "0123456789abcdef"}}}
	tree := machinetest.Files{conf: string(packaging.Configuration)}.Build(t)
	_, err := setup.NewPlan(tree, conf, m, setup.Wish{})
	if want := "; and take the [[rule]] of the example out of " + conf; !strings.HasSuffix(netwatch.Hint(err), want) {
		t.Errorf("the remedy is %q", netwatch.Hint(err))
	}
}

// A file's name is no pattern, whatever is in it.
func TestMatchIsExact(t *testing.T) {
	const odd, other = `/etc/t[0-9]*\?.conf`, "/etc/t1x.conf"
	text := setup.Text(machine.Machine{Turns: []machine.Turn{
		{Unit: "a.service", File: odd},
		{Unit: "b.service", File: other, Certificate: machine.Certificate{File: odd, Open: true}},
	}})
	cfg, err := config.Parse("written", []byte(text), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	fits := map[string]int{}
	for _, r := range cfg.Rules {
		if glob, ok := r.Match["file"]; ok {
			for _, name := range []string{odd, other} {
				if ok, err := path.Match(glob, name); ok && err == nil {
					fits[name]++
				}
			}
		}
	}
	if fits[odd] != 2 || fits[other] != 1 {
		t.Errorf("that many rules fit: %v in\n%s", fits, text)
	}
}
