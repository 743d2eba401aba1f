//go:build lab

// 1. Only a true address is written.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// lie puts liars in the place of some STUN servers.
func lie(t *testing.T, says netip.Addr, servers ...int) []*Liar {
	t.Helper()
	var liars []*Liar
	for _, n := range servers {
		must(t, stuns[n].Stop())
		liar, err := world.StartLiar(n, says)
		must(t, err)
		t.Cleanup(func() { _ = liar.Stop() })
		liars = append(liars, liar)
	}
	return liars
}

// heard waits until every liar has been asked n times.
func heard(t *testing.T, liars []*Liar, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, liar := range liars {
		must(t, until(ctx, 20*time.Millisecond, func() error {
			if asked := liar.Asked(); asked < n {
				return fmt.Errorf("a liar was asked %d times", asked)
			}
			return nil
		}))
	}
	wait(t, 2*settle) // In which what was believed would be acted on.
}

func TestFalseAnswersChangeNothing(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	check := untouched(t, YunoHost)
	for _, c := range []struct {
		name  string
		says  netip.Addr
		liars []int
		dead  []int
	}{
		{"one server that lies", Public(90), []int{2}, nil},
		{"one server that lies and no other", Public(90), []int{2}, []int{0, 1}},
		{"a private address from all", Private, []int{0, 1, 2}, nil},
		{"a carrier's address from all", netip.MustParseAddr("100.64.0.7"), []int{0, 1, 2}, nil},
		{"a loopback address from all", netip.MustParseAddr("127.0.0.1"), []int{0, 1, 2}, nil},
		{"no address from all", netip.MustParseAddr("0.0.0.0"), []int{0, 1, 2}, nil},
	} {
		liars := lie(t, c.says, c.liars...)
		for _, n := range c.dead {
			must(t, stuns[n].Stop())
		}
		heard(t, liars, 3)
		_, _ = fire(t, "ip-changed") // Whether that is a failure is not the point here.
		check(c.name)
		for _, liar := range liars {
			must(t, liar.Stop())
		}
		for _, n := range append(c.liars, c.dead...) {
			must(t, stuns[n].Start(t.Context()))
		}
	}
	for _, s := range stuns {
		must(t, s.Stop())
	}
	_, _ = fire(t, "ip-changed")
	wait(t, 2*time.Second)
	check("an end of all servers")

	for _, s := range stuns { // It was awake all the time.
		must(t, s.Start(t.Context()))
	}
	must(t, world.SetPublic(t.Context(), Public(91)))
	right(t, Public(91), Public(91), 10*time.Second)
}

func TestTwoLiarsAreBelieved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	lie(t, Public(92), 1, 2)
	right(t, FirstPublic, Public(92), 10*time.Second)
}

// What netwatch believed before it was stopped may be wrong by now: as long as
// no server confirms it, it is not written, and a file that somebody else has
// put right stays.
func TestOldAddressIsNotWritten(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	shell(t, "systemctl stop netwatch.service")
	to := Public(60)
	must(t, world.SetPublic(t.Context(), to))
	shell(t, "sed -i 's/^external-ip=.*/external-ip="+to.String()+"/' "+YunoHost.File+
		" && setfacl -m user:turnserver:r "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	for _, s := range stuns {
		must(t, s.Stop())
	}
	invocation := show(t, YunoHost.Unit, "InvocationID")

	shell(t, "systemctl start netwatch.service")
	wait(t, 3*every)
	if text := shell(t, "cat "+YunoHost.File); !strings.Contains(text, "external-ip="+to.String()) {
		t.Errorf("coturn.conf is:\n%s", text)
	}
	for _, s := range stuns {
		must(t, s.Start(t.Context()))
	}
	idle(t, to)
	right(t, to, to, 5*time.Second)
	if got := show(t, YunoHost.Unit, "InvocationID"); got != invocation {
		t.Error("coturn was restarted")
	}
}

// The machine boots without a network. netwatch is ready all the same, says what
// is missing, and is right soon after the network has come.
func TestNoNetworkAtBoot(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, every.String()), 0o644))
	cut := func(commands string) { must(t, ip(t.Context(), world.Net, commands)) }
	cut("addr flush dev eth0\nlink set eth0 down\nlink set lo down\n")
	t.Cleanup(func() { // Where it is up again, ip(8) says that all is there already.
		_ = ip(context.Background(), world.Net, serverAddresses)
	})
	to := Public(72)
	must(t, world.SetPublic(t.Context(), to))
	shell(t, "systemctl start netwatch.service")
	says(t, "netwatch status", "network is unreachable")
	says(t, "netwatch fire ip-changed 2>&1", "the public address is not known yet", "hint: run `netwatch probe`")
	if text := shell(t, "cat "+YunoHost.File); text != CoturnConf(FirstPublic.String()) {
		t.Errorf("without a network coturn.conf became\n%s", text)
	}
	came := time.Now()
	cut(serverAddresses)
	promised(t, Times{right(t, to, to, 20*time.Second).Sub(came)}, every+settle+200*time.Millisecond)
}

// No name can be looked up. That is said with its remedy, changes nothing, and is
// over as soon as names are there.
func TestNamesCannotBeLookedUp(t *testing.T) {
	fresh(t, YunoHost)
	shell(t, "cp -a /etc/hosts /etc/hosts.lab; mv /etc/resolv.conf /etc/resolv.lab; echo nameserver 203.0.113.200 >/etc/resolv.conf")
	undo(t, "mv /etc/hosts.lab /etc/hosts; mv -f /etc/resolv.lab /etc/resolv.conf")
	config := configuration(YunoHost, every.String())
	var hosts strings.Builder
	for i, s := range stuns {
		name := fmt.Sprintf("stun%d.example.org", i)
		config = strings.Replace(config, s.Addr().Addr().String(), name, 1)
		fmt.Fprintf(&hosts, "%s %s\n", s.Addr().Addr(), name)
	}
	must(t, install())
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	to := Public(73)
	must(t, world.SetPublic(t.Context(), to))
	log := logSince(t)
	shell(t, "systemctl start netwatch.service")
	says(t, "netwatch status", "no server could tell", "looking up")
	says(t, log, `"hint":"see whether UDP to port 3478 and name resolution work from here"`)
	if text := shell(t, "cat "+YunoHost.File); text != CoturnConf(FirstPublic.String()) {
		t.Errorf("without names coturn.conf became\n%s", text)
	}
	shell(t, "printf '"+hosts.String()+"' >>/etc/hosts")
	right(t, to, to, 20*time.Second)
}

// The sources are asked before started is emitted, so that its rules act on what
// is true now.
func TestStartedComesAfterALook(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	history := shell(t, "netwatch history")
	found, started := strings.Index(history, "ip-changed from stun"), strings.Index(history, "started from netwatch")
	if found < 0 || started < found {
		t.Errorf("history:\n%s", history)
	}
}
