//go:build lab

// What callers of each LiveKit get, by its own SDK too.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestWorldsOfCalls goes through the versions of LiveKit; make worlds does.
func TestWorldsOfCalls(t *testing.T) {
	if !*everyWorld {
		return
	}
	for _, version := range LiveKitVersions {
		t.Run("LiveKit_"+version, func(t *testing.T) {
			l := Calls
			l.Version = version
			t.Run("what_a_change_costs", func(t *testing.T) { costs(t, l) })
			t.Run("flag_against_file", func(t *testing.T) { flagAgainstFile(t, l) })
			t.Run("forms", func(t *testing.T) { forms(t, l) })
		})
	}
}

// talks are callers of LiveKit: two in the LAN, two outside whose way dies with the public
// address, and two whose way does not. Those outside let in what they asked for alone.
type talks map[string][2]*Talk

// neighbours makes namespaces for them: one in another net of the LAN, which the router does
// not lead out and in again, and two beside the router.
func neighbours(t *testing.T) (lan, four, six string) {
	t.Helper()
	lan, four, six = world.Router+"-lan", world.Router+"-4", world.Router+"-6"
	for _, name := range []string{lan, four, six} {
		outside(t, "ip", "netns", "add", name)
		t.Cleanup(func() { must(t, removeNamespace(context.Background(), name)) })
	}
	// What is still sent to an address that the router had is not for it (links' neighbours).
	must(t, world.nft(t.Context(), "table ip old {\nchain in {\ntype filter hook prerouting priority raw;\n"+
		"iifname wan fib daddr type != local drop;\n}\n}\n"))
	t.Cleanup(func() { must(t, world.nft(context.Background(), "delete table ip old")) })
	const veth = "link add lan2 type veth peer name eth0 netns %s\nlink set lan2 up\naddr add 192.168.51.1/24 dev lan2\n"
	must(t, ip(t.Context(), world.Router, fmt.Sprintf(veth, lan)))
	must(t, ip(t.Context(), lan, "link set lo up\nlink set eth0 up\naddr add 192.168.51.2/24 dev eth0\n"+
		"route add default via 192.168.51.1\n"))
	const macvlan = "link add link wan name eth0 netns %s type macvlan mode bridge\n"
	must(t, ip(t.Context(), world.Inet, fmt.Sprintf(macvlan+macvlan, four, six)))
	must(t, ip(t.Context(), four, "link set lo up\nlink set eth0 up\naddr add 203.0.113.20/24 dev eth0\n"))
	must(t, ip(t.Context(), six, "link set lo up\nlink set eth0 up\naddr add 2001:db8::20/64 dev eth0 nodad\n"+
		"route add 2001:db8:50::/64 via 2001:db8::10\n"))
	for _, name := range []string{four, six} {
		must(t, nft(t.Context(), name, "table inet f {\nchain in {\ntype filter hook input priority 0;\n"+
			"meta l4proto { udp, tcp } ct state new drop;\n}\n}\n"))
	}
	return lan, four, six
}

// talking has all of them talk.
func talking(t *testing.T) talks {
	t.Helper()
	lan, four, six := neighbours(t)
	all := talks{}
	for name, where := range map[string]struct {
		namespace string
		at        netip.Addr
	}{"lan": {lan, Private}, "four": {four, FirstPublic}, "six": {six, Public6}} {
		var two [2]*Talk
		for i := range two {
			talk, err := world.Talk(t.Context(), where.namespace, fmt.Sprint(name, i), name,
				netip.AddrPortFrom(where.at, Calls.Port))
			must(t, err)
			t.Cleanup(func() { must(t, talk.Stop()) })
			two[i] = talk
		}
		all[name] = two
	}
	all.hear(t, time.Now())
	return all
}

// hear waits until each has heard the other after a time.
func (all talks) hear(t *testing.T, after time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for name, two := range all {
		for _, talk := range two {
			if _, err := talk.Heard(ctx, after); err != nil {
				all, _ := talk.Happened()
				t.Errorf("%s: %v: %v", name, err, all[max(0, len(all)-10):])
			}
		}
	}
}

// costs holds what a change of the address costs callers who are in a call.
func costs(t *testing.T, l LiveKit) {
	calls(t, l, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, l.Unit)
	watching(t, sourceStun(every.String(), false)+`families = ["ipv4"]`+ruleCalls(l, " drain=5s"), FirstPublic)
	all := talking(t)
	to, changed := Public(10), time.Now()
	must(t, world.SetPublic(t.Context(), to))
	for _, talk := range all["four"] {
		must(t, talk.Finds(to))
	}
	right := rightCall(t, to, to)
	t.Logf("a new caller is right after %.1f s", right.Sub(changed).Seconds())
	all.hear(t, right)
	all.wantSilence(t, changed, "lan", 5*time.Second, 5*time.Second)
	all.wantSilence(t, changed, "six", 5*time.Second, 5*time.Second)
	all.wantSilence(t, changed, "four", 0, time.Minute) // It is his client that does not notice
}

// wantSilence wants callers to hear each other until some time after a change, and to be
// silent no longer than so.
func (all talks) wantSilence(t *testing.T, changed time.Time, name string, after, most time.Duration) {
	t.Helper()
	for _, talk := range all[name] {
		silences, err := talk.Silences(changed)
		must(t, err)
		t.Logf("%s: silent %v", name, silences)
		for _, s := range silences {
			if s.From < after || s.To-s.From > most {
				t.Errorf("silent %s", s)
			}
		}
	}
}

// older says whether it is LiveKit 1.9, where the flag wins and two addresses leave callers
// without a candidate; in 1.13 the file wins, and they get both.
func (l LiveKit) older() bool { return l.Version == LiveKitVersions[0] }

// flagAgainstFile holds who wins without netwatch, and that with it the file does.
func flagAgainstFile(t *testing.T, l LiveKit) {
	inFlag, wins := netip.MustParseAddr("203.0.113.99"), FirstPublic
	l.Flags = "--node-ip " + inFlag.String()
	if l.older() {
		wins = inFlag
	}
	calls(t, l, "node_ip: "+FirstPublic.String(), netip.Addr{})
	t.Cleanup(func() { _, _ = server.Exec(context.Background(), "netwatch", "grant", "--revoke") })
	rightCall(t, FirstPublic, wins)
	unlimited(t, l.Unit)
	config := sourceStun(every.String(), false) + `families = ["ipv4"]`
	begin(t, config+ruleCalls(l, " drain=1s"))
	shell(t, "systemctl restart "+l.Unit)
	rightCall(t, FirstPublic, FirstPublic)
	to := Public(10)
	must(t, world.SetPublic(t.Context(), to))
	rightCall(t, to, to)
	idle(t, to)
}

// forms holds that what leaves callers of this version without a candidate, or has it end,
// is refused, and LiveKit left alone; and that what it takes is kept right.
func forms(t *testing.T, l LiveKit) {
	calls(t, l, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, l.Unit)
	rule := strings.Replace(ruleCalls(l, " drain=1s"), `"started", "ip-changed"`, `"look"]`+"\nretry = \"0s\"\n#[", 1)
	begin(t, sourceStun(every.String(), true)+rule)
	idle(t, Public6)
	was := show(t, l.Unit, "InvocationID")
	refused := map[string]string{
		"999.1.1.1": "neither an address", "203.0.113.5,": "neither an address", "[203.0.113.5]": "here should be one value",
		"{ipv4: 203.0.113.5}": "here should be one value", "203.0.113.5,203.0.113.6": "one address of each family",
	}
	const both = "203.0.113.5,2001:db8::5"
	if l.older() {
		refused[both] = "two addresses, and this one is 1.9"
	}
	for value, why := range refused {
		shell(t, fmt.Sprintf("sed -i 's/node_ip: .*/node_ip: %s/' %s", value, l.File))
		fires(t, "look", 1, why)
		if is := shell(t, "grep node_ip "+l.File); !strings.HasSuffix(is, "node_ip: "+value) {
			t.Errorf("%s became %s", value, is)
		}
	}
	if is := show(t, l.Unit, "InvocationID"); is != was {
		t.Error("LiveKit was restarted")
	}
	if l.older() {
		return
	}
	shell(t, fmt.Sprintf("sed -i 's/node_ip: .*/node_ip: %s/' %s", both, l.File))
	fires(t, "look", 0, "203.0.113.5, 2001:db8::5 → "+FirstPublic.String()+", "+Public6.String())
	rightCall(t, FirstPublic, FirstPublic)
	rightCall(t, FirstPublic, Public6)
}
