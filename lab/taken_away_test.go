//go:build lab

// 11. Taking netwatch away leaves the machine as it was.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Where init puts what others are to call.
const (
	renewalHook = hooksDir + "/50-netwatch"
	vpnFile     = "/etc/openvpn/client/lab.conf"
	vpnDropIn   = "/etc/systemd/system/openvpn-client@.service.d/netwatch.conf"
)

// standing is how the machine stands: files with mode, owner, links and content, access
// lists, and what of its units is enabled and runs. What is written whatever is
// installed, and certificates, are not in it.
func standing(t *testing.T) []string {
	t.Helper()
	return strings.Split(shell(t, `
		cd /
		find etc opt srv usr/local usr/bin usr/lib/s* usr/share/doc usr/share/man var/backups var/lib var/spool -xdev \
			\( -path var/lib/dpkg -o -path var/lib/apt -o -path var/lib/systemd -o -path etc/yunohost/certs \
			-o -path etc/.pwd.lock \) -prune -o ! -name '*-' -printf '%p %y %m %U:%G %l\n' | sort
		find etc opt/yunohost usr/local var/backups var/lib/netwatch* -xdev -path etc/yunohost/certs -prune -o -type f \
			! -name '*-' ! -name .pwd.lock -exec sha256sum {} + 2>/dev/null | sort -k 2
		getfacl -R -n etc/matrix-* etc/openvpn etc/turnserver.conf
		systemctl list-unit-files --no-legend --plain | sort
		systemctl list-units --no-legend --plain --type=service,socket --state=active | cut -d ' ' -f 1 | sort
		grep -rIs netwatch etc var/lib var/spool --exclude-dir=dpkg --exclude='*-' || true`), "\n")
}

// namedServers has the names of the servers that init writes lead to those of the lab.
func namedServers(t *testing.T) {
	t.Helper()
	for i, name := range []string{"stun.cloudflare.com", "stun.nextcloud.com", "stun.sipgate.net"} {
		shell(t, fmt.Sprintf("echo %s %s >>/etc/hosts", StunServers[i][0], name))
	}
}

// onYunoHostWithVPN is a YunoHost that is the client of a VPN, with packages of netwatch
// at hand.
func onYunoHostWithVPN(t *testing.T, versions ...string) {
	t.Helper()
	asNobody(t)
	onYunoHost(t)
	handOver(t, versions...)
	namedServers(t)
	shell(t, "rm -f /usr/sbin/policy-rc.d; systemctl start polkit.service") // Which the bus starts for whoever asks it
	vpn, err := world.StartVPN(t.Context(), server, "verb 3")
	must(t, err)
	t.Cleanup(func() {
		log, _ := server.Exec(context.Background(), "journalctl", "-b", "-o", "cat", "-n", "60", "-u", VPNClient)
		if t.Failed() {
			t.Logf("the log of OpenVPN:\n%s\nand of its server:\n%s", log, vpn.Log())
		}
	})
	shell(t, "systemctl start "+VPNClient)
	completed(t, 1)
}

// restarted restarts OpenVPN, which makes its tunnel.
func restarted(t *testing.T) {
	t.Helper()
	before := logged(t, VPNClient, "Initialization Sequence Completed")
	shell(t, "systemctl daemon-reload; systemctl restart "+VPNClient)
	completed(t, before+1)
}

// setUp is what an administrator does: what init says.
func setUp(t *testing.T) {
	t.Helper()
	installed := standing(t)
	dry := shell(t, "netwatch init --dry-run 2>&1")
	for _, part := range []string{
		"write " + renewalHook + "\n", "change " + vpnFile + "\n", `    + ipchange "/usr/bin/netwatch hook openvpn"`,
	} {
		if !strings.Contains(dry, part) {
			t.Errorf("it does not show %q:\n%s", part, dry)
		}
	}
	if diff := cmp.Diff(installed, standing(t)); diff != "" {
		t.Error("shown, it is done:", diff)
	}
	t.Log(shell(t, "netwatch init 2>&1"))
	if again := shell(t, "netwatch init 2>&1"); !strings.Contains(again, "nothing is to be done") {
		t.Errorf("done again, it says\n%s", again)
	}
	wantFile(t, renewalHook, "755 root:root")
	shell(t, `sed -i 's/^agree .*/&\nevery = "500ms"/' /etc/netwatch/netwatch.toml`)
	shell(t, "systemctl enable --now netwatch.service")
	idle(t, FirstPublic)
	restarted(t)
	hears(t, ofIPChange, 1)
}

// Installed, set up, at work, upgraded, and taken away: OpenVPN goes on, and then the
// machine stands as it stood.
func TestTakenAway(t *testing.T) {
	onYunoHostWithVPN(t, "1.0", "2.0")
	limit := show(t, VPNClient, "LimitNPROC")
	before := standing(t)
	dpkg(t, "-i /opt/1.0.deb")
	setUp(t)
	if now := show(t, VPNClient, "LimitNPROC"); limit == "10" && now != "infinity" || limit != "10" && now != limit {
		t.Errorf("OpenVPN's user may have %s tasks, and might have %s", now, limit)
	}
	leaf, err := server.InstallCertificate(t.Context(), FirstApp.Domain)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		served, err := Served(ctx, world.Inet, netip.AddrPortFrom(entrance, FirstApp.TLS))
		if err == nil && !served.Equal(leaf) {
			err = fmt.Errorf("coturn serves the old certificate:\n%s", shell(t, "netwatch history"))
		}
		return err
	}))
	dpkg(t, "-i /opt/2.0.deb")
	shell(t, "test -x "+renewalHook+" && grep -q 'netwatch hook' "+vpnFile)
	dpkg(t, "--remove netwatch")
	reconnect(t) // It has in mind what its file said
	restarted(t)
	_, err = server.InstallCertificate(t.Context(), FirstApp.Domain)
	must(t, err)
	if now := show(t, VPNClient, "LimitNPROC"); now != limit {
		t.Errorf("OpenVPN's user may have %s tasks, and might have %s", now, limit)
	}
	dpkg(t, "--purge netwatch")
	if diff := cmp.Diff(before, standing(t)); diff != "" {
		t.Error("the machine is another:", diff)
	}
}

// YunoHost's VPN client rewrites its configuration, and runs what lies in directories.
func TestTakenAwayFromScripts(t *testing.T) {
	onYunoHostWithVPN(t, "1.0")
	const scripts = "/etc/openvpn/scripts"
	shell(t, "mkdir -p "+scripts+"/route-up.d "+scripts+"/route-down.d; groupadd --system vpnclient; "+
		"chown root:vpnclient /etc/openvpn; chmod 775 /etc/openvpn") // As the app has it
	must(t, server.WriteFile(scripts+"/run-parts.sh", "#!/bin/bash\nrun-parts -v "+scripts+"/$1.d/\n", 0o755))
	conf, err := os.ReadFile(server.path(vpnFile))
	must(t, err)
	must(t, server.WriteFile(vpnFile, string(conf)+"\nscript-security 2\nroute-up \""+scripts+
		"/run-parts.sh route-up\"\ndown \""+scripts+"/run-parts.sh route-down\"\n", 0o644))
	restarted(t)
	before := standing(t)
	dpkg(t, "-i /opt/1.0.deb")
	t.Log(shell(t, "netwatch init 2>&1"))
	wantFile(t, scripts+"/route-up.d/90-netwatch", "755 root:root")
	shell(t, "systemctl enable --now netwatch.service")
	restarted(t)
	hears(t, ofRouteUp, 1)
	dpkg(t, "--purge netwatch")
	restarted(t)
	if diff := cmp.Diff(before, standing(t)); diff != "" {
		t.Error("the machine is another:", diff)
	}
}

// While OpenVPN would not start any more, or what is there cannot be taken out, the
// package stays and is at work; and what it says to do is what it takes.
func TestRemovalRefused(t *testing.T) {
	onYunoHostWithVPN(t, "1.0")
	for _, c := range []struct{ name, spoil, says string }{
		{
			"a line that was changed", "sed -i 's/^setenv GOMAXPROCS 1$/setenv GOMAXPROCS 3/' " + vpnFile,
			"calls netwatch still: " + vpnFile,
		},
		{
			"a server by hand", "echo 'client-connect \"/usr/bin/netwatch hook openvpn\"' >/etc/openvpn/server/road.conf",
			"calls netwatch still: /etc/openvpn/server/road.conf",
		},
		{
			"a file system that is read-only",
			"mount --bind /etc/openvpn /etc/openvpn; mount -o remount,bind,ro /etc/openvpn",
			"read-only file system",
		},
		{
			"a file that nobody may change", "chattr +i " + vpnFile, "operation not permitted",
		},
		{"a file that is mounted over", "mount --bind " + vpnFile + " " + vpnFile, "device or resource busy"},
	} {
		dpkg(t, "-i /opt/1.0.deb")
		shell(t, "netwatch init; systemctl enable --now netwatch.service 2>&1")
		idle(t, FirstPublic)
		shell(t, c.spoil)
		out := shell(t, "dpkg --remove netwatch 2>&1 && echo it is gone || true")
		t.Logf("%s:\n%s", c.name, out)
		_, remedy, _ := strings.Cut(out, "\nhint: ")
		remedy, _, _ = strings.Cut(remedy, "\n")
		if !strings.Contains(out, c.says) || remedy == "" || strings.Contains(out, "it is gone") {
			t.Errorf("%s: it does not refuse with %q and a remedy", c.name, c.says)
		}
		wantUnits(t, "is-active", "active", "active")
		if strings.Contains(remedy, "findmnt -T "+vpnFile) {
			remedy = "mount -o remount,bind,rw /etc/openvpn" // Which is another where the whole file system is
		}
		remedy, _, _ = strings.Cut(remedy, " takes ")
		remedy, _, _ = strings.Cut(remedy, ", over which")
		t.Log(shell(t, remedy+" 2>&1"))
		dpkg(t, "--purge netwatch")
		shell(t, "systemctl daemon-reload; umount -q /etc/openvpn || true; ! grep -rs 'netwatch hook' /etc/openvpn")
		restarted(t)
	}
}

// A coturn of Debian's that had no line of ours has none any more, and callers get from
// it what they got, until its next start as before.
func TestLineTakenAway(t *testing.T) {
	fresh(t, Debian)
	bare(t)
	packages := handOver(t, "1.0")
	const strip = "sed -i /external-ip/d "
	shell(t, strip+Debian.File+"; systemctl restart "+Debian.Unit)
	before := shell(t, "cat "+Debian.File+"; stat -c '%a %U:%G' "+Debian.File)
	right(t, FirstPublic, Private, 5*time.Second)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(Debian, "500ms"), 0o644))
	dpkg(t, "--force-confold -i "+packages[0])
	idle(t, FirstPublic)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	must(t, world.SetPublic(t.Context(), Public(1)))
	right(t, Public(1), Public(1), 10*time.Second)
	pid := show(t, Debian.Unit, "MainPID")
	dpkg(t, "--remove netwatch")
	if after := shell(t, "cat "+Debian.File+"; stat -c '%a %U:%G' "+Debian.File); after != before {
		t.Errorf("the file is another:%s", cmp.Diff(before, after))
	}
	right(t, Public(1), Public(1), 5*time.Second)
	if show(t, Debian.Unit, "MainPID") != pid {
		t.Error("coturn was restarted")
	}
	shell(t, "systemctl restart "+Debian.Unit)
	right(t, Public(1), Private, 5*time.Second)
}

// What --migrate took out stays out when netwatch goes, and its copy is there for who
// wants it back.
func TestPurgeAfterMigrate(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	const old = "/etc/cron.d/coturn_config_rotate"
	const line = "*/15 * * * * root bash /opt/yunohost/synapse/Coturn_config_rotate.sh;"
	must(t, server.WriteFile(old, line+"\n", 0o644))
	undo(t, "rm -rf /var/backups/netwatch "+old)
	dpkg(t, "-i "+handOver(t, "1.0")[0])
	shell(t, "netwatch init; netwatch init --migrate")
	dpkg(t, "--purge netwatch")
	if copies := shell(t, "cat /var/backups/netwatch/*/[0-9]*; ls -d "+old+" 2>/dev/null || true"); copies != line {
		t.Errorf("kept is\n%s", copies)
	}
}
