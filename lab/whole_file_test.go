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

// A file that is mounted alone, as a container is given one, cannot be replaced where
// it is mounted. That is said with what helps, also by the helper, and it helps.
func TestMountedAlone(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	dir := "/etc/matrix-synapse"
	shell(t, "cp -a "+dir+" /etc/lab-outside && mount --bind /etc/lab-outside/coturn.conf "+YunoHost.File)
	undo(t, "while mountpoint -q "+YunoHost.File+"; do umount "+YunoHost.File+"; done; "+
		"while mountpoint -q "+dir+"; do umount "+dir+"; done; rm -r /etc/lab-outside")
	must(t, world.SetPublic(t.Context(), Public(96)))
	before := shell(t, "cat "+YunoHost.File)
	out, code := fire(t, "ip-changed")
	if code != 1 || !strings.Contains(out, "device or resource busy") || !strings.Contains(out,
		"hint: it is a bind mount, as of a container that was given this file alone, and cannot be replaced: "+
			"mount its directory "+dir+" instead") {
		t.Errorf("of a file that is mounted it says (%d)\n%s", code, out)
	}
	if after := shell(t, "cat "+YunoHost.File+"; ls -A "+dir+" | grep -v '^coturn' || true"); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	shell(t, "umount "+YunoHost.File+" && mount --bind /etc/lab-outside "+dir)
	if out, code := fire(t, "ip-changed"); code != 0 {
		t.Errorf("with its directory mounted it says (%d)\n%s", code, out)
	}
	right(t, Public(96), Public(96), 5*time.Second)
	if outside := shell(t, "cat /etc/lab-outside/coturn.conf"); !strings.Contains(outside, Public(96).String()) {
		t.Errorf("outside it is\n%s", outside)
	}
}
