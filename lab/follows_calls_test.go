//go:build lab

// The address changes, and LiveKit's callers are right again.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netwatch/servers"
)

// calls installs LiveKit with a line for node_ip, has the router hand on its ports, and
// waits until a caller gets what it says, if it says something.
func calls(t *testing.T, l LiveKit, line string, want netip.Addr) {
	t.Helper()
	fresh(t, YunoHost)
	must(t, world.Forward(t.Context(), Ports+", "+CallPorts, Private))
	t.Cleanup(func() {
		if t.Failed() {
			log, err := server.Exec(context.Background(), "journalctl", "-b", "-o", "short-precise", "-n", "40", "-u", l.Unit)
			t.Logf("the log of LiveKit (%v):\n%s", err, log)
		}
		must(t, world.Forward(context.Background(), Ports, Private))
		must(t, server.RemoveLiveKit(context.Background(), l))
	})
	must(t, server.InstallLiveKit(t.Context(), l, line))
	if want.IsValid() {
		rightCall(t, FirstPublic, want)
	}
}

// rightCall waits until a caller is told an address.
func rightCall(t *testing.T, at, want netip.Addr) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	when, err := world.WaitCall(ctx, netip.AddrPortFrom(at, Calls.Port), want)
	must(t, err)
	return when
}

// ruleCalls has LiveKit follow, and proves it.
func ruleCalls(l LiveKit, more string) string {
	return fmt.Sprintf("\n[[rule]]\nname = \"calls\"\non = [\"started\", \"ip-changed\"]\ndo = [\"rotate livekit %s\", "+
		"\"restart %s%s\", \"verify livekit %[1]s\"]\n", l.File, l.Unit, more)
}

// TestCallsFollow holds that a new caller of a real LiveKit gets the right candidates once
// the address has changed, and that verify says so.
func TestCallsFollow(t *testing.T) {
	calls(t, Calls, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, Calls.Unit)
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+ruleCalls(Calls, " drain=1s"), FirstPublic)
	promised(t, sinceNoticed(t, 3, func(to netip.Addr) time.Time { return rightCall(t, to, to) }), 3*time.Second)
	conf := shell(t, "cat "+Calls.File)
	if conf+"\n" != Calls.conf("node_ip: "+Public(32).String()) {
		t.Errorf("the file is\n%s", conf)
	}
	log := shell(t, "netwatch history --json")
	if !strings.Contains(log, "ipv4 "+Public(32).String()+" (") {
		t.Errorf("it was not proven:\n%.3000s", log)
	}
}

// TestCallsDrain holds that LiveKit, which waits for its callers without end, is told to
// end once more after the drain, and not before.
func TestCallsDrain(t *testing.T) {
	calls(t, Calls, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, Calls.Unit)
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+ruleCalls(Calls, " drain=3s"), FirstPublic)
	hangUp, err := world.HoldCall(t.Context(), netip.AddrPortFrom(FirstPublic, Calls.Port))
	must(t, err)
	defer hangUp()
	to := Public(20)
	must(t, world.SetPublic(t.Context(), to))
	took := rightCall(t, to, to).Sub(noticed(t, to))
	promised(t, Times{took}, 3*time.Second+3*time.Second) // With a call on
	if took < 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestCallsAreKnown holds what is known of LiveKit without a change of the address: it
// lacks node_ip and gets it, a signal that would kill it is not sent, and verify sees that
// it runs with another address than the file has.
func TestCallsAreKnown(t *testing.T) {
	calls(t, Calls, "", netip.Addr{})
	rule := strings.Replace(ruleCalls(Calls, " drain=1s"), `"started", "ip-changed"`, `"ip-changed"`, 1) +
		fmt.Sprintf("\n[[rule]]\non = [\"hang-up\"]\nretry = \"0s\"\ndo = [\"signal HUP %s\"]\n", Calls.Unit) +
		fmt.Sprintf("\n[[rule]]\non = [\"look\"]\nretry = \"0s\"\ndo = [\"verify livekit %s\"]\n", Calls.File)
	begin(t, sourceStun("1h", false)+`families = ["ipv4"]`+rule)
	rightCall(t, FirstPublic, FirstPublic)
	idle(t, FirstPublic)
	fires(t, "look", 0, "ipv4 "+FirstPublic.String()+" (")
	fires(t, "hang-up", 1, "SIGHUP kills livekit-server")
	wantFinding := func(level, words string) {
		all, _ := doctor(t)
		if !slices.ContainsFunc(all, func(f finding) bool {
			return f.What == "calls by "+Calls.File && f.Level == level && strings.Contains(f.Found, words)
		}) {
			t.Errorf("doctor does not find %s: %+v", words, all)
		}
	}
	wantFinding("ok", "callers get ipv4 "+FirstPublic.String())
	shell(t, "sed -i 's/node_ip: .*/node_ip: 203.0.113.99/' "+Calls.File+" && systemctl restart "+Calls.Unit)
	fires(t, "look", 1, "tells callers 203.0.113.99, ", "and the public address is "+FirstPublic.String())
	wantFinding("problem", "tells callers 203.0.113.99, ")
	shell(t, "sed -i 's/node_ip: .*/node_ip: "+FirstPublic.String()+"/' "+Calls.File)
	fires(t, "look", 1, "has the right node_ip, which LiveKit reads only when it starts")
	shell(t, "sed -i 's/node_ip: .*/node_ip: 999.1.1.1/' "+Calls.File+" && systemctl restart "+Calls.Unit)
	fires(t, "look", 1, "it answers 503 Service Unavailable", "cannot use node_ip")
	shell(t, "sed -i '/node_ip:/d' "+Calls.File+" && systemctl restart "+Calls.Unit)
	fires(t, "look", 1, "tells callers "+Private.String(), "and the public address is "+FirstPublic.String())
	shell(t, "sed -i 's/rtc:/rtc:\\n  node_ip: 999.1.1.1/' "+Calls.File)
	fires(t, "ip-changed", 1, "line 4, column 12: the value is neither an address nor empty")
}

// TestCallsFlag holds that a LiveKit whose unit has its address in the command line, which
// goes before the file (1.9.11), follows by a drop-in that leaves it out, for as long as it
// is there.
func TestCallsFlag(t *testing.T) {
	flagged := Calls
	flagged.Flags = "--node-ip " + FirstPublic.String()
	calls(t, flagged, "", FirstPublic)
	shell(t, "rm -rf "+servers.AddedDir) // As before the first start
	before := shell(t, "cat "+Calls.File)
	t.Cleanup(func() {
		_, _ = server.Exec(context.Background(), "netwatch", "grant", "--revoke")
	})
	mark := "/etc/systemd/system/" + Calls.Unit + ".d/zz-netwatch-flag.conf"
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+ruleCalls(Calls, " drain=1s"), FirstPublic)
	moved := "rtc:\n  node_ip: " + FirstPublic.String() + "\n  # ports\n"
	if conf := shell(t, "cat "+Calls.File); !strings.Contains(conf, moved) {
		t.Errorf("the file does not say what the flag said:\n%s", conf)
	}
	to := Public(10)
	must(t, world.SetPublic(t.Context(), to))
	rightCall(t, to, to)
	idle(t, to)
	shell(t, "test -e "+mark+" && netwatch grant --revoke && ! test -e "+mark)
	if is := show(t, Calls.Unit, "ExecStart"); !strings.Contains(is, flagged.Flags) {
		t.Errorf("without netwatch systemd would start %s", is)
	}
	if after := shell(t, "cat "+Calls.File); after != before {
		t.Errorf("without netwatch the file is another:\n%s", after)
	}
}

// TestCallsOnYunoHost holds that on a YunoHost with two instances of the app, as it is
// installed by default, a change of the address is right for coturn and LiveKit of both,
// each proven.
func TestCallsOnYunoHost(t *testing.T) {
	onYunoHost(t)
	must(t, world.Forward(t.Context(), YunoHostPorts+", "+CallPorts, Private))
	rules(t, world.Net, "add rule inet firewall in tcp dport { "+CallPorts+" } accept\n") // In place of nginx
	config := sourceStun(every.String(), false) + "families = [\"ipv4\"]\n"
	all := map[App]LiveKit{FirstApp: Calls, SecondApp: SecondCalls}
	for a, l := range all {
		l.Flags = "--node-ip " + FirstPublic.String()
		must(t, server.InstallLiveKit(t.Context(), l, ""))
		c, name := a.Coturn(), map[App]string{FirstApp: "first", SecondApp: "second"}[a]
		turn := ruleVerify(name, "rotate coturn "+c.File, "restart "+c.Unit, "verify turn "+c.File)
		turn = strings.Replace(turn, `on = ["`, `on = ["started", "ip-changed", "`, 1)
		config += turn + strings.Replace(ruleCalls(l, " drain=1s"), `"calls"`, fmt.Sprintf("%q", l.Unit), 1)
	}
	watching(t, config, FirstPublic)
	must(t, world.Calls(t.Context())) // Which takes longer than what is measured
	to := Public(10)
	entrance = to
	must(t, world.SetPublic(t.Context(), to))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var turn, livekit [2]time.Time
	var asks sync.WaitGroup
	for i, a := range []App{FirstApp, SecondApp} {
		asks.Go(func() { turn[i] = rightTurn(ctx, a, to) })
		asks.Go(func() {
			var err error
			if livekit[i], err = world.WaitCall(ctx, netip.AddrPortFrom(to, all[a].Port), to); err != nil {
				t.Error(err)
			}
		})
	}
	asks.Wait()
	idle(t, to)
	began := noticed(t, to)
	promised(t, Times{turn[0].Sub(began), turn[1].Sub(began)}, time.Second)
	promised(t, Times{livekit[0].Sub(began), livekit[1].Sub(began)}, 3*time.Second)
	for a, l := range all {
		says(t, "netwatch history", "verify livekit "+l.File+": unchanged: ipv4 "+to.String()+" (",
			"verify turn "+a.Coturn().File+": unchanged: ipv4 "+to.String()+" (tls")
	}
}

// rightTurn waits until the coturn of an app gives a caller an address, and returns when; a
// year from now if it never does.
func rightTurn(ctx context.Context, a App, want netip.Addr) time.Time {
	for ctx.Err() == nil {
		if got, _ := (door{over: TLS, port: a.TLS, secret: a.Secret}).try(ctx); got == want.String() {
			return time.Now()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return time.Now().AddDate(1, 0, 0)
}
