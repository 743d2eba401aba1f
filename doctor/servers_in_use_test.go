package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine/machinetest"
	"netwatch/sources"
	"netwatch/systemd"
)

const (
	callUnit = "synapse-livekit.service"
	callFile = "/etc/matrix-synapse/livekit.yml"
	mark     = "/etc/systemd/system/synapse-livekit.service.d/zz-netwatch-flag.conf"
	dropIn   = "/run/systemd/generator/synapse-livekit.service.d/zz-netwatch-without-flag.conf"
)

// doing is a configuration with a rule that does this.
func doing(steps ...string) string {
	return "[source.stun]\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"" + strings.Join(steps, "\", \"") + "\"]\n"
}

func livekit(conf string) machinetest.Files {
	return machinetest.Calls("synapse").And(machinetest.Files{callFile: conf})
}

const named = "rtc:\n  node_ip: 203.0.113.1\nkeys:\n  calls: hidden\n"

// The rules keep each server that runs right, and not coturn alone: its file, and that its
// unit heeds it.
func TestRulesOfEachServer(t *testing.T) {
	rotate := "rotate livekit " + callFile
	alias := map[string]systemd.UnitLook{
		callUnit: {Running: true, PID: 7}, "calls.service": {Running: true, PID: 7}, "x.service": {Running: true, PID: 8},
	}
	for _, c := range []struct {
		name, conf, toml string
		level            Level
		words, hint      string
	}{
		{"kept", named, doing(rotate, "restart "+callUnit+" drain=5s"), "", "", ""},
		{"by another name", named, doing(rotate, "restart calls.service"), "", "", ""},
		{"by a program", named, doing(rotate, "exec /usr/bin/true"), "", "", ""},
		{
			"not at all", named, stopped, Warning, "no rule rotates it",
			`"restart ` + callUnit + ` drain=5s", "verify livekit `,
		},
		{"wrong already", "rtc:\n  node_ip: 203.0.113.9\n", stopped, Problem, "node_ip is 203.0.113.9", "fire ip-changed"},
		{"not followed", named, doing(rotate), Warning, "has not " + callUnit + " follow", "`restart " + callUnit + " drain"},
		{
			"followed by a reload", named, doing(rotate, "reload "+callUnit), Warning, "has not " + callUnit + " follow",
			"`restart ",
		},
		{"another is", named, doing(rotate, "restart x.service"), Warning, "has not " + callUnit + " follow", "`restart "},
		{"asks itself", "rtc:\n  use_external_ip: true\n", doing("restart " + callUnit + " always"), "", "", ""},
		{
			"asks itself, and none restarts it", "rtc:\n  use_external_ip: true\n", doing("restart x.service"),
			Warning, "asks for its address only when it starts",
			"'on = [\"ip-changed\"]' 'match = { old = \"?*\" }' 'do = [\"restart " + callUnit + " always drain=5s\"",
		},
		{
			"no step could", "rtc:\n  node_ip: {{ ip }}\n", stopped, Note, "no step could rotate it: line 2",
			"netwatch.toml(5)",
		},
	} {
		found := checkRules(t.Context(), sceneOf(t, livekit(c.conf), c.toml, alias))
		if c.words == "" {
			none(t, c.name, found)
			continue
		}
		one(t, c.name, found, c.level, c.words)
		if len(found) == 1 && !strings.Contains(found[0].Hint, c.hint) {
			t.Errorf("%s: the remedy is %s", c.name, found[0].Hint)
		}
	}
	off := map[string]systemd.UnitLook{callUnit: {State: "inactive (dead)", File: "disabled"}}
	none(t, "nobody runs it", checkRules(t.Context(), sceneOf(t, livekit(named), stopped, off)))
}

// A server that is right by its machine's own address needs no rule, unless it listens at the
// addresses of its start.
func TestRuleIsNeedless(t *testing.T) {
	own := netwatch.OwnAddress(netwatch.IPv4, netip.Addr{})
	if !own.IsValid() {
		t.Log("this machine has no way out")
		return
	}
	for conf, found := range map[string]int{"nat: {\n}\n": 0, "nat: {\n\tnat_1_1_mapping = \"203.0.113.5\"\n}\n": 1} {
		files := machinetest.Files{
			"/lib/systemd/system/janus.service": "[Service]\nExecStart=/usr/bin/janus\n", "/etc/janus/janus.jcfg": conf,
		}
		s := sceneOf(t, files, stopped, nil)
		s.told = func() []told { return []told{{"stun", sources.Told{Family: netwatch.IPv4, Address: own}}} }
		if all := checkRules(t.Context(), s); len(all) != found {
			t.Errorf("with %q: %+v", conf, all)
		}
	}
	s := sceneOf(t, livekit("rtc:\n  udp_port: 7882\n"), stopped, nil)
	s.told = func() []told { return []told{{"stun", sources.Told{Family: netwatch.IPv4, Address: own}}} }
	one(t, "it listens at what there was", checkRules(t.Context(), s), Warning, "no rule rotates it")
}

// Who pastes the remedy for a server without a rule has one that is right.
func TestRuleAsRemedy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "it's netwatch.toml")
	if err := os.WriteFile(file, []byte(stopped), 0o600); err != nil {
		t.Fatal(err)
	}
	files := machinetest.Servers.And(livekit(named)).And(app(secret + "external-ip=203.0.113.1\n"))
	s := sceneOf(t, files, stopped, nil)
	s.Config = file
	found := checkRules(t.Context(), s)
	if len(found) != 6 {
		t.Fatalf("%+v", found)
	}
	for _, f := range found {
		line, _, _ := strings.Cut(f.Hint, " && ")
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	cfg, err := config.Load(file, actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg = cfg
	none(t, "with these rules", checkRules(t.Context(), s))
}

// A drop-in that leaves an option out is compared with the unit's own command line, as it is
// without it.
func TestFlags(t *testing.T) {
	const unit = "/etc/systemd/system/" + callUnit
	start := func(words string) string {
		return "[Service]\nExecStart=\nExecStart=/opt/livekit-server --config " + callFile + words + "\n"
	}
	ours := func(line string) string {
		f, _ := systemd.FindFlag(callUnit, "--node-ip", []byte("[Service]\nExecStart="+line+" --node-ip 203.0.113.5\n"))
		return f.Text()
	}
	right := ours("/opt/livekit-server --config " + callFile)
	later := filepath.Dir(mark) + "/zzz.conf"
	for _, c := range []struct {
		name        string
		files       machinetest.Files
		level       Level
		words, hint string
	}{
		{"well", machinetest.Files{mark: "", dropIn: right}, OK, dropIn + " leaves --node-ip out", ""},
		{"none", nil, Problem, "nothing leaves it out", "netwatch grant -c /etc/netwatch/netwatch.toml && "},
		{"not made", machinetest.Files{mark: ""}, Problem, "netwatch-generator has not made " + dropIn, "netwatch grant"},
		{
			"stale",
			machinetest.Files{mark: "", dropIn: ours("/opt/old/livekit-server --config " + callFile)},
			Problem,
			"another command line", "systemctl daemon-reload && ",
		},
		{"gone", machinetest.Files{unit: start(""), dropIn: right}, Warning, "it has no --node-ip", "daemon-reload"},
		{
			"of others behind it",
			machinetest.Files{mark: "", dropIn: right, later: start(" --node-ip 203.0.113.7")},
			Problem, later + " comes after " + dropIn,
			"mv " + later + " " + filepath.Dir(mark) + "/zz-0-zzz.conf && systemctl daemon-reload && netwatch grant",
		},
		{
			"twice",
			machinetest.Files{unit: start(" --node-ip 203.0.113.5 --node-ip 203.0.113.5")},
			Problem, "in a way that no drop-in", "systemctl edit --full " + callUnit,
		},
		{"never", machinetest.Files{unit: start("")}, "", "", ""},
	} {
		files := livekit(named).And(machinetest.Files{unit: start(" --node-ip 203.0.113.5")}).And(c.files)
		found := checkFlags(t.Context(), sceneOf(t, files, doing("rotate livekit "+callFile), nil))
		if c.words == "" {
			none(t, c.name, found)
			continue
		}
		one(t, c.name, found, c.level, c.words)
		if len(found) == 1 && !strings.Contains(found[0].Hint, c.hint) {
			t.Errorf("%s: the remedy is %s", c.name, found[0].Hint)
		}
		none(t, c.name+", and no rule", checkFlags(t.Context(), sceneOf(t, files, stopped, nil)))
	}
}

// A LiveKit that does not run is not asked, and each that is says by which unit it runs.
func TestCallsNameUnits(t *testing.T) {
	off := map[string]systemd.UnitLook{callUnit: {State: "inactive (dead)", File: "enabled"}}
	s := sceneOf(t, livekit(named), stopped, off)
	one(t, "off", checkCalls(t.Context(), s), Unknown, callUnit+" does not run")
	s.found.Servers[0].Text = nil
	s.lookUnit = func(context.Context, string) (systemd.UnitLook, error) {
		return systemd.UnitLook{Running: true}, nil
	}
	one(t, "unread", checkCalls(t.Context(), s), Problem, callUnit+": ")
	s.lookUnit = func(context.Context, string) (systemd.UnitLook, error) { return systemd.UnitLook{}, errors.New("x") }
	none(t, "unknown", checkCalls(t.Context(), s))
}
