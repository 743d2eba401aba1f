//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// undo has a command line run in the server when a test ends.
func undo(t *testing.T, line string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", line); err != nil {
			t.Error(err)
		}
	})
}

// says waits until a command line in the server prints all of these words.
func says(t *testing.T, line string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		out, err := server.Exec(ctx, "sh", "-c", line)
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("%s does not say %q (%w):\n%s", line, word, err, out)
			}
		}
		return nil
	}))
}

// logSince is a command line that prints what netwatch logs from now on. The cursor is
// of netwatch's own last line, if it has one: behind another's, journalctl passes over
// netwatch's next.
func logSince(t *testing.T) string {
	t.Helper()
	cursor := shell(t, `for of in "-u netwatch.service" ""; do
		journalctl -b $of -n 1 --show-cursor -o cat | sed -n "s/^-- cursor: //p"
	done | head -n 1`)
	return "journalctl -b -o cat -u netwatch.service --after-cursor='" + cursor + "'"
}

// forgedSignal has an ordinary user tell everyone on the bus that the job of
// lab-slow.service has failed.
const forgedSignal = `for name in $(busctl list --unique --no-legend | awk '{ print $1 }'); do
	runuser -u nobody -- dbus-send --system --type=signal --dest=$name /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager.JobRemoved \
		uint32:1 objpath:/org/freedesktop/systemd1/job/$(systemctl list-jobs --no-legend lab-slow.service | awk '{ print $1 }') string:lab-slow.service string:failed
done`

// A job goes on while systemd executes itself anew, reads all units again, or the
// bus is restarted, or while a stranger says that it has failed; the step waits for it
// all the same, and its end is told.
func TestBusAndSystemdRestartInAJob(t *testing.T) {
	fresh(t, YunoHost)
	must(t, server.WriteFile("/etc/systemd/system/lab-slow.service", "[Service]\nExecStartPre=/bin/sleep 1.5\nExecStart=/bin/sleep infinity\n", 0o644))
	shell(t, "systemctl daemon-reload")
	undo(t, "systemctl stop lab-slow.service")
	watching(t, configuration(YunoHost, "1h")+"\n[[rule]]\non = [\"slow\", \"started\"]\nsettle = \"0s\"\ndo = [\"restart lab-slow.service\"]\n", FirstPublic)
	for _, fault := range []string{"systemctl daemon-reexec", "systemctl daemon-reload", "systemctl restart dbus.service", forgedSignal} {
		before := incarnation(t, "lab-slow.service")
		var out strings.Builder
		fire := server.Command(t.Context(), "netwatch", "fire", "--timeout", "20s", "slow")
		fire.Stdout, fire.Stderr = &out, &out
		must(t, fire.Start())
		says(t, "systemctl show -p ActiveState lab-slow.service", "ActiveState=activating")
		shell(t, fault)
		if err := fire.Wait(); err != nil || !strings.Contains(out.String(), "restart lab-slow.service: changed") {
			t.Errorf("%s: %v:\n%s", fault, err, out.String())
		}
		if now := incarnation(t, "lab-slow.service"); now == before {
			t.Errorf("%s: the unit was not restarted", fault)
		}
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

// The disk is full: netwatch goes on, for it has the room that it needs.
func TestFullDisk(t *testing.T) {
	smallState(t)
	shell(t, "head -c 1M /dev/zero >/var/lib/netwatch/filler 2>/dev/null; true")
	if out := shell(t, "head -c 8k /dev/zero 2>&1 >/var/lib/netwatch/more || :"); !strings.Contains(out, "No space left") {
		t.Errorf("the disk is not full: %s", out)
	}
	to := Public(73)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
	idle(t, to)
}

// smallState starts netwatch with its state on a disk of 64 KB.
func smallState(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	shell(t, "mkdir -p /var/lib/netwatch && mount -t tmpfs -o size=64k,mode=700 nwstate /var/lib/netwatch")
	undo(t, "systemctl stop netwatch.service; umount -l /var/lib/netwatch")
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
}

// The state cannot be written: the address is right all the same, and what is at
// risk is said with its remedy wherever somebody looks. Once it can be written it is,
// by itself, and survives a kill. (Where netwatch was once, there is room: the state
// before the newest is taken away.)
func TestStateCannotBeWritten(t *testing.T) {
	smallState(t)
	const dir = "/var/lib/netwatch"
	for n, c := range []struct{ breaks, says, hint, mends string }{
		{
			"cd " + dir + "; rm -f state.json.before; dd if=/dev/zero of=filler bs=1k 2>/dev/null; true", "no space left on device",
			"make room there: df -h " + dir, "rm " + dir + "/filler",
		},
		{
			"mount -o remount,ro " + dir, "read-only file system",
			"mount it writable: mount -o remount,rw", "mount -o remount,rw " + dir,
		},
		{
			"cd " + dir + "; rm state.json*; chown root .", "permission denied",
			"chown $(id -u netwatch):$(id -g netwatch) " + dir, "chown netwatch " + dir,
		},
	} {
		hint := shell(t, `printf %s "`+c.hint+`"`)
		log := logSince(t)
		shell(t, c.breaks)
		to := Public(74 + n)
		must(t, world.SetPublic(t.Context(), to))
		right(t, to, to, 10*time.Second)
		says(t, log, c.says, "would be forgotten by a restart", hint)
		says(t, "netwatch status", "not on disk: writing the state", c.says, hint)
		says(t, "netwatch doctor", "problem  state: writing the state", c.says, hint)
		says(t, "curl -s --unix-socket /run/netwatch/netwatch.sock http://netwatch/metrics", "netwatch_state_unwritten 1")
		out, code := fire(t, "ip-changed")
		noted := strings.Contains(out, "note: it is not on disk: writing the state")
		if code != 0 || !noted || !strings.Contains(out, "hint: "+hint) {
			t.Errorf("netwatch fire exits %d:\n%s", code, out)
		}
		if logged := shell(t, log); strings.Count(logged, "would be forgotten") != 1 {
			t.Errorf("it is not logged once:\n%s", logged)
		}
		shell(t, c.mends)
		says(t, log, "the state is on disk again")
		says(t, "netwatch status && echo well", "well")
		shell(t, "systemctl kill -s KILL netwatch.service")
		says(t, "netwatch status", "ipv4", to.String())
		idle(t, to)
	}
}

// The directory of the state is removed under netwatch, whose sandbox loses it by
// that: the address is right all the same, and the remedy that is said helps.
func TestStateRemoved(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	shell(t, "rm -rf /var/lib/netwatch")
	to := Public(79)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
	says(t, "netwatch status", "not on disk: writing the state", "systemctl restart netwatch.service")
	shell(t, "install -d -m 700 -o netwatch -g netwatch /var/lib/netwatch")
	says(t, "netwatch status", "it was removed and made anew, outside of the sandbox: systemctl restart netwatch.service")
	shell(t, "systemctl restart netwatch.service")
	says(t, "netwatch status && echo well", "well")
	to = Public(80)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 10*time.Second)
}

// A damaged state, or what lies in its place and is no file, is set aside, which is
// said, and netwatch begins anew where there is none before it; nothing that its user puts there keeps it from that.
func TestDamagedState(t *testing.T) {
	unlimited(t, YunoHost.Unit)
	for n, damage := range []string{"head -c 300 /dev/urandom >", "mkfifo ", "mkdir ", "ln -s /etc/shadow "} {
		fresh(t, YunoHost)
		must(t, install())
		shell(t, "install -d -m 700 -o netwatch -g netwatch /var/lib/netwatch && cd /var/lib/netwatch && "+
			"runuser -u netwatch -- mkfifo .state.json.next state.json.before && runuser -u netwatch -- sh -c '"+damage+"state.json'")
		to := Public(77 + n)
		must(t, world.SetPublic(t.Context(), to))
		log := logSince(t)
		watching(t, configuration(YunoHost, every.String()), to)
		says(t, log, "it was damaged; it is kept as /var/lib/netwatch/state.json.damaged-", "and netwatch begins from the present")
		right(t, to, to, 5*time.Second)
	}
}

// A second netwatch on the same state is refused and told why; the first goes on.
func TestSecondNetwatch(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	out, err := server.Command(t.Context(), "netwatch", "run").CombinedOutput()
	if !errors.As(err, new(*exec.ExitError)) || !strings.Contains(string(out), "another netwatch runs on it\nhint: stop the other one") {
		t.Errorf("%v:\n%s", err, out)
	}
	to := Public(78)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 20*time.Second)
}

// A netwatch that hangs is restarted by systemd, and then does its work; one that
// is well is left alone.
func TestHungNetwatchIsRestarted(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	if unit := shell(t, "systemctl cat netwatch.service"); !strings.Contains(unit, "\nWatchdogSec=30\n") {
		t.Errorf("the unit as it is installed has no watchdog:\n%s", unit)
	}
	quickRestart(t)
	must(t, server.WriteFile("/etc/systemd/system/netwatch.service.d/dog.conf", "[Service]\nWatchdogSec=1\n", 0o644))
	shell(t, "systemctl daemon-reload")
	watching(t, configuration(YunoHost, every.String()), FirstPublic)
	before := incarnation(t, "netwatch.service")
	wait(t, 3*time.Second)
	if now := incarnation(t, "netwatch.service"); now != before {
		t.Fatal("a netwatch that is well was restarted")
	}
	log := logSince(t)
	hung := time.Now()
	shell(t, "systemctl kill --kill-whom=main -s STOP netwatch.service")
	to := Public(79)
	must(t, world.SetPublic(t.Context(), to))
	t.Logf("right %v after it hung", right(t, to, to, 20*time.Second).Sub(hung))
	if got := show(t, "netwatch.service", "NRestarts"); got != "1" {
		t.Errorf("netwatch was restarted %s times", got)
	}
	says(t, log, "Watchdog timeout", "goroutine 1 ")
}
