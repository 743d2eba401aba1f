//go:build debian && lab

// 2. Nothing accepted is lost while Debian 12 becomes Debian 13 under netwatch.

package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fullUpgrade is what an administrator does, who has read the release notes, less the
// waiting for the disk.
const fullUpgrade = "DEBIAN_FRONTEND=noninteractive apt-get -y --no-download --no-install-recommends " +
	"-o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io full-upgrade >/var/log/full-upgrade 2>&1"

// TestDebianUpgraded holds that netwatch, its helper, its rights and its place on the bus
// outlive a real apt full-upgrade, by which systemd, polkit and dbus are replaced: whatever
// happens meanwhile is acted on, and what hung in a run when it began is done.
func TestDebianUpgraded(t *testing.T) {
	leave, err := moveIn(t.Context(), Bookworm)
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	fresh(t, YunoHost)
	must(t, server.offerUpgrade(t.Context()))
	unlimited(t, YunoHost.Unit)
	mark(t)
	must(t, server.WriteFile("/usr/local/bin/hang", hang, 0o755))
	const held = "\n[[rule]]\nname = \"held\"\non = [\"hold\"]\ntimeout = \"30m\"\ndo = [\"exec /usr/local/bin/hang\", " +
		"\"exec /usr/local/bin/mark\"]\n"
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "500ms")+marking+held, 0o644))
	dpkg(t, "--force-confold -i "+handOver(t, "1.0")[0])
	idle(t, FirstPublic)
	shell(t, "netwatch fire hold --no-wait")
	says(t, "ls /var/lib/netwatch/hangs", "hangs")
	t.Log(versions(t))
	began := time.Now()
	times, fired := meanwhile(t, fullUpgrade)
	t.Logf("the upgrade took %v; callers were right after %s", time.Since(began).Round(time.Second), times)
	t.Log(versions(t))
	shell(t, "dpkg --configure -a; apt-get check; touch /var/lib/netwatch/free")
	idle(t, Public(40+len(times)-1))
	if n := marks(t); n != fired+1 {
		t.Errorf("of %d events %d were acted on", fired+1, n)
	}
	for n, line := range []string{"systemctl restart netwatch", "systemctl daemon-reexec", "systemctl restart polkit"} {
		shell(t, line)
		to := Public(20 + n)
		must(t, world.SetPublic(t.Context(), to))
		right(t, to, to, 20*time.Second)
	}
	t.Log(shell(t, "netwatch doctor 2>&1 || true; netwatch status"))
}

// meanwhile has the public address change, again and again, while a command line runs in the
// server, and returns how long each took until callers were right, and how many events were
// fired.
func meanwhile(t *testing.T, line string) (times Times, fired int) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := server.Exec(t.Context(), "sh", "-c", line)
		ended <- err
	}()
	for n := 0; ; n++ {
		to := Public(40 + n)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		times = append(times, right(t, to, to, 90*time.Second).Sub(changed))
		shell(t, "netwatch fire mark --no-wait")
		fired++
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err, shell(t, "tail -n 40 /var/log/full-upgrade"))
			}
			return times, fired
		case <-time.After(3 * time.Second):
		}
	}
}

// versions says what runs and what is installed.
func versions(t *testing.T) string {
	t.Helper()
	return strings.Join([]string{
		shell(t, "cat /etc/debian_version; dpkg-query -W systemd dbus polkitd coturn libc6"),
		fmt.Sprintf("systemd that runs: %s", shell(t, "systemctl show -P Version")),
		shell(t, "systemctl show -P MainPID netwatch.service dbus.service polkit.service"),
	}, "\n")
}
