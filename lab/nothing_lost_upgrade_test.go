//go:build lab

// 2. Nothing accepted is lost when another netwatch takes its place in the midst of a run.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hanging is a rule whose run hangs, once the file is rewritten, until somebody lets it go:
// what is behind is not done yet.
func hanging(c Coturn) string {
	return fmt.Sprintf("\n[[rule]]\non = [\"started\", \"ip-changed\"]\ndo = [\"rotate coturn %s\", "+
		"\"exec /usr/local/bin/hang\", \"restart %s\"]\n", c.File, c.Unit)
}

// hang is what such a run waits for, and until when it is told to end.
const hang = "#!/bin/sh\ntouch /var/lib/netwatch/hangs\nwhile [ ! -e /var/lib/netwatch/free ]; do sleep 0.1; done\n"

// later makes the packages of a netwatch that comes after this one: it has another version
// of the state, which has more in it.
func later(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	outside(t, "sh", "-ec", "tar -C .. --exclude=./.git --exclude=./bin --exclude=./dist -cf - . | "+
		"tar -xf - -C "+dir+"; cd "+dir+`; sed -i 's/^const version = 1$/const version = 2/' state/encode.go
		sed -i 's/^\tDead map.*/&\n\tMoons map[string]string `+"`json:\"moons\"`"+`/
			s/^\t\tDead: maps.*/\t\tMoons: s.Moons,\n&/
			s/^\t\tDead: map\[string\]string{},/\t\tMoons: map[string]string{"first": "`+version+`"},\n&/' state/state.go
		grep -c Moons state/state.go | grep -qx 3`)
	arch := outside(t, "dpkg", "--print-architecture")
	must(t, makeIn(t.Context(), dir, "make -s deb VERSION="+version+" DIST="+dir+"/dist ARCHES="+arch))
	content, err := os.ReadFile(filepath.Join(dir, "dist", "netwatch_"+version+"-1_"+arch+".deb"))
	must(t, err)
	name := "/opt/" + version + ".deb"
	must(t, server.WriteFile(name, string(content), 0o644))
	return name
}

// In the midst of a run that has rewritten the file and hangs, with events accepted that wait
// for it, a newer netwatch takes the place of this one, then this one that of the newer, and
// again: each time the new one does what was left, and callers are right. What the newer one
// keeps in its state, and this one does not know, is there when it is back.
func TestUpgradeInTheMidst(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	unlimited(t, YunoHost.Unit)
	this, newer := handOver(t, "1.0")[0], later(t, "3.0")
	mark(t)
	must(t, server.WriteFile("/usr/local/bin/hang", hang, 0o755))
	config := sourceStun("200ms", false) + "families = [\"ipv4\"]\n" + hanging(YunoHost) + marking
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	// systemd has less patience than by the unit, and ends what hangs.
	const impatient = "/etc/systemd/system/netwatch.service.d/lab-impatient.conf"
	must(t, server.WriteFile(impatient, "[Service]\nTimeoutStopSec=2\n", 0o644))
	undo(t, "rm "+impatient)
	shell(t, "mkdir -p /var/lib/netwatch; touch /var/lib/netwatch/free")
	dpkg(t, "--force-confold -i "+this)
	idle(t, FirstPublic)
	for n, next := range []string{newer, this, newer, this} {
		t.Run(next, func(t *testing.T) { replaced(t, next, Public(30+n), n+1) })
	}
	if kept := shell(t, "cat /var/lib/netwatch/state.json"); !strings.Contains(kept, `"first": "3.0"`) ||
		!strings.Contains(kept, `"version": 1,`) {
		t.Errorf("what the newer one keeps is not there any more, or it is that which runs:\n%s", kept)
	}
	if aside := shell(t, "ls /var/lib/netwatch | grep damaged || true"); aside != "" {
		t.Errorf("a state was set aside: %s", aside)
	}
}

// replaced has a package take the place of the netwatch that runs while a run of it hangs
// because of a new address, and an event waits.
func replaced(t *testing.T, deb string, to netip.Addr, marked int) {
	t.Helper()
	shell(t, "cd /var/lib/netwatch; rm -f free hangs")
	before := show(t, "netwatch.service", "MainPID")
	must(t, world.SetPublic(t.Context(), to))
	says(t, "ls /var/lib/netwatch/hangs", "hangs")
	shell(t, "grep -qx external-ip="+to.String()+" "+YunoHost.File+"; netwatch fire ip-changed --no-wait")
	installed := make(chan error, 1)
	go func() {
		_, err := server.Exec(t.Context(), "dpkg", "--force-confold", "-i", deb)
		installed <- err
	}()
	toldToEnd(t, before)
	shell(t, "netwatch fire mark --no-wait") // It waits in the socket for the next one
	must(t, <-installed)
	shell(t, "touch /var/lib/netwatch/free")
	right(t, to, to, 30*time.Second)
	idle(t, to)
	if show(t, "netwatch.service", "MainPID") == before {
		t.Error("it is the old daemon that runs")
	}
	if n := marks(t); n != marked {
		t.Errorf("what was fired meanwhile was done %d times, want %d", n, marked)
	}
	if failed := shell(t, "netwatch status --json | grep -o '\"failed\"' || true"); failed != "" {
		t.Errorf("something is said to have failed:\n%s", shell(t, "netwatch status"))
	}
}

// toldToEnd waits until systemd has netwatch's process end, or has ended it.
func toldToEnd(t *testing.T, pid string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, until(ctx, pause, func() error {
		state := show(t, "netwatch.service", "ActiveState")
		if state == "active" && show(t, "netwatch.service", "MainPID") == pid {
			return errors.New("netwatch is not told to end")
		}
		return nil
	}))
}
