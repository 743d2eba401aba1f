//go:build lab

// An upgrade of the app gives LiveKit another unit, and callers are right all the same.

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// unitDir is where the app's units are.
const unitDir = "/etc/systemd/system/"

// program makes a path of its own for the program of LiveKit.
func program(t *testing.T, name string) (path string) {
	t.Helper()
	is, err := addLiveKit(t.Context(), Calls.Version)
	must(t, err)
	path = "/opt/calls-" + name + "/livekit-server"
	shell(t, fmt.Sprintf("rm -rf /opt/calls-* && mkdir %s && ln -s %s %s", strings.TrimSuffix(path, "/livekit-server"),
		is, path))
	return path
}

// upgradeCalls is what an upgrade of the app does: another program, of which the old one is
// gone, other flags, and at once a restart. It returns what is to run then.
func upgradeCalls(t *testing.T, dir, name, flags, more string) (command string) {
	t.Helper()
	path := program(t, name)
	must(t, server.WriteFile(dir+Calls.Unit, fmt.Sprintf(livekitUnit, path, Calls.File, flags+more), 0o644))
	shell(t, "systemctl daemon-reload && systemctl restart "+Calls.Unit)
	return strings.TrimRight(path+" --config "+Calls.File+more, " ")
}

// callsRun waits until a command runs as the main process of LiveKit, and wants it to be the
// only one since the upgrade.
func callsRun(t *testing.T, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	must(t, until(ctx, pause, func() error {
		is := shell(t, "tr '\\0' ' ' </proc/$(systemctl show -P MainPID "+Calls.Unit+")/cmdline || true")
		if strings.TrimSpace(is) != command {
			return fmt.Errorf("what runs is %q, want %q", is, command)
		}
		return nil
	}))
	invocation := show(t, Calls.Unit, "InvocationID")
	wait(t, time.Second) // In which it could be restarted once more.
	if show(t, Calls.Unit, "InvocationID") != invocation || show(t, Calls.Unit, "NRestarts") != "0" {
		t.Error("it was restarted once more")
	}
}

// flaggedCalls is a LiveKit with a flag in its unit that netwatch keeps right.
func flaggedCalls(t *testing.T) {
	t.Helper()
	flagged := Calls
	flagged.Flags = "--node-ip " + FirstPublic.String()
	calls(t, flagged, "", FirstPublic)
	t.Cleanup(func() {
		_, _ = server.Exec(context.Background(), "sh", "-c", "netwatch grant --revoke; rm -rf /opt/calls* "+
			"/usr/lib/systemd/system/"+Calls.Unit+" "+unitDir+Calls.Unit+"; systemctl daemon-reload")
	})
	unlimited(t, Calls.Unit)
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+ruleCalls(Calls, " drain=1s"), FirstPublic)
}

// TestCallsUpgrade holds that what an upgrade of the app has LiveKit run is what runs, less
// the address, at its first start, without a word to netwatch and also while that is down;
// and that callers are right then, and follow.
func TestCallsUpgrade(t *testing.T) {
	flaggedCalls(t)
	const stale = "--node-ip 203.0.113.99"
	now := Public(10)
	must(t, world.SetPublic(t.Context(), now))
	rightCall(t, now, now)
	idle(t, now)
	callsRun(t, upgradeCalls(t, unitDir, "1", stale, " --region a"))
	rightCall(t, now, now)
	shell(t, "systemctl stop netwatch.service")
	callsRun(t, upgradeCalls(t, unitDir, "2", "--node-ip=203.0.113.98", " --region b"))
	rightCall(t, now, now)
	shell(t, "systemctl start netwatch.service")
	idle(t, now)
	callsRun(t, upgradeCalls(t, unitDir, "3", "", " --region c")) // The web page was down.
	callsRun(t, upgradeCalls(t, unitDir, "4", stale, ""))
	shell(t, "rm "+unitDir+Calls.Unit)
	callsRun(t, upgradeCalls(t, "/usr/lib/systemd/system/", "5", stale, " --region d")) // It has moved
	now = Public(11)
	must(t, world.SetPublic(t.Context(), now))
	rightCall(t, now, now)
	idle(t, now)
	shell(t, "systemctl stop "+Calls.Unit+" && rm /usr/lib/systemd/system/"+Calls.Unit+" && systemctl daemon-reload")
	if is := show(t, Calls.Unit, "LoadState"); is != "not-found" {
		t.Errorf("once the app is gone, its unit is %s", is)
	}
	shell(t, "systemctl restart netwatch.service")
	if is := shell(t, "find "+unitDir+" /run/systemd -name 'zz-netwatch-*'"); is != "" {
		t.Errorf("something is left:\n%s", is)
	}
}

// TestCallsUpgradeOfAll holds that callers are right soon where the upgrade writes the file
// anew too, without an address.
func TestCallsUpgradeOfAll(t *testing.T) {
	flaggedCalls(t)
	config := sourceStun(every.String(), false) + "families = [\"ipv4\"]\n[source.file]\nfiles = [\"" + Calls.File +
		"\"]\n" + strings.Replace(ruleCalls(Calls, " drain=1s"), `"started"`, `"started", "file-changed"`, 1)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	shell(t, "systemctl reload netwatch")
	idle(t, FirstPublic)
	news := follow(t)
	must(t, server.WriteFile("/opt/calls.yml", Calls.conf(""), 0o600))
	shell(t, "cat /opt/calls.yml >"+Calls.File)
	began := time.Now()
	upgradeCalls(t, unitDir, "1", "--node-ip 203.0.113.99", " --region a")
	// Who asks by WHIP while LiveKit has no address holds up its end for 5 s.
	proven, err := news.wait(t.Context(), 1, ended(netwatch.FileChanged))
	must(t, err)
	promised(t, Times{proven[0].Time.Sub(began)}, 3*time.Second)
	rightCall(t, FirstPublic, FirstPublic)
	if proven[0].Outcome != netwatch.Changed {
		t.Errorf("the run is %s: %s", proven[0].Outcome, proven[0].Error)
	}
}

// TestCallsFlagStays holds that the flag stays where others than root decide what the unit
// says, who cannot hold up systemd by that either, or where systemd does not ask netwatch;
// that grant says so; and that what an administrator puts over the unit counts.
func TestCallsFlagStays(t *testing.T) {
	flaggedCalls(t)
	unit, over := unitDir+Calls.Unit, unitDir+Calls.Unit+".d/over.conf"
	wantFlag := func(flagged bool, in string) {
		t.Helper()
		is := shell(t, "systemctl daemon-reload && systemctl show -P ExecStart "+Calls.Unit)
		if strings.Contains(is, "--node-ip") != flagged || !strings.Contains(is, in) {
			t.Errorf("it would start %s", is)
		}
	}
	wantFlag(false, "")
	must(t, server.WriteFile(over, "[Service]\nExecStart=\nExecStart=/opt/over --config "+Calls.File+
		" --node-ip 203.0.113.9\n", 0o644))
	wantFlag(false, "/opt/over")
	must(t, server.WriteFile(over, "[Service]\nExecStart=\nExecStart=/bin/sh -c \"exec /opt/over --config "+Calls.File+
		" --node-ip 203.0.113.9\"\n", 0o644))
	wantFlag(true, "/bin/sh")
	says(t, "netwatch grant 2>&1", "no drop-in can leave it out as it stands there")
	shell(t, "rm "+over+" && chmod -x "+generator)
	wantFlag(true, "")
	says(t, "netwatch grant 2>&1", "systemd has --node-ip in its command still")
	shell(t, "chmod +x "+generator+" && netwatch grant")
	wantFlag(false, "")
	shell(t, "install -d -o synapse /opt/calls-x && mv "+unit+" /opt/calls-x && ln -s /opt/calls-x/"+Calls.Unit+" "+unit)
	wantFlag(true, "")
	says(t, "netwatch grant 2>&1", "others than root decide what is in "+unit)
	shell(t, "mkfifo /opt/calls-x/over.conf && ln -s /opt/calls-x/over.conf "+over)
	shell(t, "timeout 5 "+generator+" /tmp/generated x x 2>&1 | grep 'others than root'; rm "+over)
}

// generator is what systemd asks whenever it reads its units.
const generator = "/usr/lib/systemd/system-generators/netwatch-generator"
