package setup_test

import (
	"errors"
	"path"
	"strings"
	"testing"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/contrib"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/packaging"
	"netwatch/setup"
)

// What to do for a server in a container is what netwatch can do, and no more.
func TestContained(t *testing.T) {
	full := machine.Container{
		Server: "coturn", Engine: "docker", ID: "0123456789abcdef", Name: "turn", Inside: "/etc/coturn/turnserver.conf",
		File: "/srv/turn.conf", HostNetwork: true, Keeper: "netwatch-docker@turn.service",
	}
	with := func(change func(*machine.Container)) machine.Container {
		c := full
		change(&c)
		return c
	}
	for _, c := range []struct {
		machine.Container
		want string
	}{
		{full, ""},
		{with(func(c *machine.Container) { c.Replaced = true }), "coturn in docker turn: it still has the file that was " +
			"there before /srv/turn.conf was written anew: systemctl restart netwatch-docker@turn.service"},
		{with(func(c *machine.Container) { c.Keeper = "" }), "no unit of systemd runs it"},
		{with(func(c *machine.Container) { c.Name, c.Keeper = "", "" }), "coturn in docker 0123456789ab: no unit"},
		{with(func(c *machine.Container) { c.Users = true }), "it is of a user's own"},
		{with(func(c *machine.Container) { c.Inside = "" }), "started without a file"},
		{with(func(c *machine.Container) { c.File = "" }), "in what the container is made of, mount a file"},
		{with(func(c *machine.Container) { c.File, c.Source = "", "/srv/t.yaml" }), "in /srv/t.yaml, mount a file"},
		{with(func(c *machine.Container) { c.Refused = errors.New("no") }), "turn: no"},
		{with(func(c *machine.Container) { c.Refused = netwatch.WithHint(errors.New("no"), "so") }), "turn: no: so"},
	} {
		got := strings.Join(setup.Contained(machine.Machine{Contained: []machine.Container{c.Container}}), "; ")
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("it does not say %q but %q", c.want, got)
		}
	}
}

// A container that no unit runs gets a rule as any server does, and the template of the unit
// that restarts it, which goes again before netwatch does. Where its ways in are not known, nobody asks it.
func TestContainedIsKept(t *testing.T) {
	const template = "/etc/systemd/system/netwatch-docker@.service"
	tree := machinetest.Files{"/srv/turn.conf": "realm=a\n"}.Build(t)
	m := machine.Machine{Turns: []machine.Turn{{
		Unit: "netwatch-docker@turn.service", File: "/srv/turn.conf", Elsewhere: true, Unproven: machine.ErrWaysIn,
	}}}
	plan, backup := carryOutFor(t, tree, m)
	written, _ := tree.Read(conf)
	const do = "[\n  \"rotate coturn /srv/turn.conf\",\n  \"restart netwatch-docker@turn.service\",\n]"
	if text := string(written); !strings.Contains(text, "do   = "+do) || strings.Contains(text, "verify turn") ||
		strings.Contains(text, "addr-changed") ||
		!strings.Contains(text, "# No verify asks as a caller does: its container has") {
		t.Errorf("it writes\n%s", text)
	}
	if unit, err := tree.Read(template); err != nil || string(unit) != string(contrib.Docker) || len(plan.Changes) != 2 {
		t.Errorf("of the template it writes %q: %v", unit, err)
	}
	r, err := setup.NewAway(tree)
	if err != nil || len(r.Changes) != 1 || r.Changes[0].File != template {
		t.Errorf("before it goes it takes back %+v of %s: %v", r, backup, err)
	}
}

// A pair of this machine's in a container is said to be so, by the step.
func TestContainedPairOfThisMachine(t *testing.T) {
	const step = "\"rotate coturn /t.conf"
	for auto, want := range map[bool]string{true: step + " private=auto\"", false: step + "\""} {
		m := machine.Machine{Turns: []machine.Turn{{Unit: "netwatch-podman@turn.service", File: "/t.conf", Auto: auto}}}
		if text := setup.Text(m); strings.Count(text, want) != 2 {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// What is put in place names the documents where they are.
func TestContainedNamesItsDocuments(t *testing.T) {
	m := machine.Machine{Turns: []machine.Turn{{Unit: "netwatch-podman@turn.service", File: "/srv/turn.conf"}}}
	plan, err := setup.NewPlan(machinetest.Files{}.Build(t), conf, m, setup.Wish{Program: "/usr/local/bin/netwatch"})
	if err != nil {
		t.Fatal(err)
	}
	const want = " file:///usr/local/share/doc/netwatch/examples/docker/README.md\n"
	if text := string(plan.Changes[len(plan.Changes)-1].After); !strings.Contains(text, want) {
		t.Errorf("it is\n%s", text)
	}
}

// carryOutFor does what is to be done for a machine.
func carryOutFor(t *testing.T, tree machine.Tree, m machine.Machine) (*setup.Plan, string) {
	t.Helper()
	plan, err := setup.NewPlan(tree, conf, m, setup.Wish{})
	if err != nil {
		t.Fatal(err)
	}
	backup, err := plan.Apply(func(setup.Change) {})
	if err != nil {
		t.Fatal(err)
	}
	return plan, backup
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
			Contained: []machine.Container{{Server: "coturn", Engine: "docker", ID: "0123456789abcdef"}},
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
	m := machine.Machine{Contained: []machine.Container{{Server: "coturn", Engine: "docker", ID: "0123456789abcdef"}}}
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
