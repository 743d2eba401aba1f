//go:build lab

// 3. A file is the old one or the new one, whole.

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
