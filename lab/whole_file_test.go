//go:build lab

package lab

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// manner is everything about coturn.conf but its content, and about the
// symlink that stands for it.
func manner(t *testing.T, file, link string) string {
	t.Helper()
	return shell(t, "stat -c '%U:%G %a %F' "+file+"; getfacl -cp "+file+
		"; getfattr -d -m user "+file+" 2>/dev/null; stat -c '%N %U:%G' "+link)
}

func TestOwnerAndACLKept(t *testing.T) {
	fresh(t, YunoHost)
	link := "/etc/matrix-synapse/link.conf"
	t.Cleanup(func() { _ = os.Remove(server.path(link)) })
	shell(t, "ln -sfn coturn.conf "+link+" && setfattr -n user.lab -v kept "+YunoHost.File)
	before, content := manner(t, YunoHost.File, link), shell(t, "cat "+YunoHost.File)
	for _, want := range []string{"synapse:synapse 640", "user:turnserver:r--", `user.lab="kept"`, "'coturn.conf'"} {
		if !strings.Contains(before, want) {
			t.Fatalf("the lab does not have %s:\n%s", want, before)
		}
	}
	watching(t, sourceStun(every.String(), false)+ruleCoturn(link, YunoHost.Unit), FirstPublic)
	to := Public(95)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 20*time.Second)
	if after := manner(t, YunoHost.File, link); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
	want := strings.ReplaceAll(content, FirstPublic.String(), to.String())
	if got := shell(t, "cat "+YunoHost.File); got != want {
		t.Errorf("coturn.conf is\n%s\nwant\n%s", got, want)
	}
	if left := shell(t, "ls -A /etc/matrix-synapse"); left != "coturn.conf\ncoturn_env\nlink.conf" {
		t.Errorf("in coturn's directory there is %q", left)
	}
	refusesStrangers(t, to)
}

// refusesStrangers fails when coturn relays for anyone: that is what it does
// when it cannot read its configuration.
func refusesStrangers(t *testing.T, at netip.Addr) {
	t.Helper()
	a, err := Caller{Namespace: world.Inet}.Allocate(t.Context(), netip.AddrPortFrom(at, Port), 4)
	var refused *TurnError
	if err == nil {
		_ = a.Close()
		t.Fatal("coturn is an open relay")
	}
	if !errors.As(err, &refused) || refused.Code != stun.CodeUnauthorized {
		t.Errorf("a stranger is not refused with 401: %v", err)
	}
}

func TestIPv6(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, sourceStun(every.String(), true)+ruleCoturn(YunoHost.File, YunoHost.Unit), Public6)
	for _, now := range []netip.Addr{FirstPublic, Public(97)} {
		must(t, world.SetPublic(t.Context(), now))
		right(t, now, now, 20*time.Second)
		right(t, now, Public6, 20*time.Second)
		lines := shell(t, "grep external-ip "+YunoHost.File+" | sort")
		want := "external-ip=2001:db8:50::2/2001:db8:50::2\nexternal-ip=" + now.String() + "/" + Private.String()
		if lines != want {
			t.Errorf("coturn.conf has\n%s\nwant\n%s", lines, want)
		}
	}
}

// TestCallsAreKept is about the caller of the lab: a refresh tells whether
// coturn is still the one that gave the address.
func TestCallsAreKept(t *testing.T) {
	fresh(t, YunoHost)
	a, err := caller.Allocate(t.Context(), netip.AddrPortFrom(FirstPublic, Port), 4)
	must(t, err)
	defer a.Close() // What it gives back is gone by then.
	must(t, a.Refresh(t.Context()))
	shell(t, "systemctl restart "+YunoHost.Unit)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	var refused *TurnError
	if err := a.Refresh(t.Context()); !errors.As(err, &refused) {
		t.Errorf("a refresh after a restart: %v, want a refusal", err)
	}
}
