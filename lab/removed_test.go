//go:build lab

package lab

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// helped runs the remedy in what was said, as it stands there.
func helped(t *testing.T, said string) {
	t.Helper()
	_, hint, _ := strings.Cut(said, "hint: ")
	command := regexp.MustCompile(`systemctl restart netwatch[-a-z.]*`).FindString(hint)
	if command == "" {
		t.Fatalf("there is no remedy in\n%s", said)
	}
	if out, err := server.Exec(t.Context(), "sh", "-c", command); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, shell(t, "journalctl -b -n 20 -u netwatch.socket -u netwatch-file.socket"))
	}
}

// When somebody has removed the control sockets, or one of them, root is told what
// helps, and it does.
func TestControlSocketRemoved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h")+marking, FirstPublic)
	mark(t)
	for _, line := range []string{
		"rm /run/netwatch/netwatch.sock*",
		"rm -r /run/netwatch",
		"systemctl stop netwatch.socket netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl stop netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl stop netwatch.socket netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl kill -s KILL netwatch.service",
	} {
		shell(t, line)
		out, code := fire(t, "mark")
		if code != 3 {
			t.Errorf("after %s, fire ends with %d:\n%s", line, code, out)
			continue
		}
		helped(t, out)
		if out, code := fire(t, "mark"); code != 0 {
			t.Errorf("after %s and the remedy, fire ends with %d:\n%s", line, code, out)
		}
		for _, user := range []string{"netwatch", "synapse"} {
			if out, well := as(t, user, "netwatch status"); !well {
				t.Errorf("after %s and the remedy %s is told\n%s", line, user, out)
			}
		}
	}
	shell(t, "rm /run/netwatch/netwatch.sock.group")
	if out, code := fire(t, "mark"); code != 0 {
		t.Errorf("without the socket of the group: %d\n%s", code, out)
	}
}

// So it is with the socket of the helper.
func TestHelperSocketRemoved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	lines := []string{"rm /run/netwatch-file/socket", "rm -r /run/netwatch-file", "systemctl stop netwatch-file.socket"}
	for n, line := range lines {
		shell(t, line)
		must(t, world.SetPublic(t.Context(), Public(90+n)))
		out, code := fire(t, "ip-changed")
		if code != 1 {
			t.Errorf("after %s, a rotation ends with %d:\n%s", line, code, out)
			continue
		}
		helped(t, out)
		if out, code := fire(t, "ip-changed"); code != 0 {
			t.Errorf("after %s and the remedy, a rotation ends with %d:\n%s", line, code, out)
		}
		right(t, Public(90+n), Public(90+n), 5*time.Second)
	}
}

// Each of the sockets is for whom it is for: where systemd holds them, where it
// does not, and after the users were changed.
func TestWhoMayConnect(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "id alice 2>/dev/null || useradd alice; usermod -aG netwatch alice")
	watching(t, configuration(YunoHost, "1h")+vpnRule(YunoHost), FirstPublic)
	mayConnect(t, "nobody", "synapse")
	changed := strings.Replace(vpnRule(YunoHost), "[source.openvpn]", "[source.openvpn]\nusers = [\"synapse\"]", 1)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h")+changed, 0o644))
	shell(t, "systemctl reload netwatch.service")
	mayConnect(t, "synapse", "nobody")
	shell(t, "systemctl stop netwatch.service; systemctl restart netwatch.socket") // As after a boot.
	for _, door := range []string{".group", ".source"} {
		if out, may := as(t, "nobody", "test -w "+controlSocket+door); may {
			t.Errorf("before netwatch starts anybody may fill the queue of %s: %s", door, out)
		}
	}
}

// The daemon's user cannot put anything in the place of a socket, which root would
// then give an owner and a mode; what systemd does not hold, he does not make.
func TestSocketsAreRoots(t *testing.T) {
	governed(t, YunoHost)
	for _, line := range []string{"rm /run/netwatch/netwatch.sock.group", "ln -s /etc/shadow /run/netwatch/x", "mv /run/netwatch/netwatch.sock.source /run/netwatch/y"} {
		if out, well := as(t, "netwatch", line); well || !strings.Contains(out, "Permission denied") {
			t.Errorf("%s: %s", line, out)
		}
	}
	afterwards(t, "systemctl stop netwatch.service; systemctl unmask netwatch.socket")
	shell(t, "systemctl stop netwatch.service; systemctl mask --now netwatch.socket 2>&1; rm -rf /run/netwatch")
	out := shell(t, "systemctl start netwatch.service 2>&1; journalctl -b -o cat -n 20 -u netwatch.service")
	if !strings.Contains(out, "hint: have systemd hold it: systemctl unmask netwatch.socket && systemctl start netwatch.socket") {
		t.Errorf("without systemd's socket it says\n%s", out)
	}
}

// mayConnect tries each of the sockets as root, as one of the group, as the user of
// a source and as a stranger.
func mayConnect(t *testing.T, ofSource, stranger string) {
	t.Helper()
	for user, own := range map[string]string{"root": "", "alice": ".group", ofSource: ".source", stranger: ""} {
		for _, door := range []string{"", ".group", ".source"} {
			out, well := as(t, user, "curl -sS --unix-socket "+controlSocket+door+" http://netwatch/v1/status")
			if want := door == "" || user == "root" || door == own; well != want {
				t.Errorf("%s at %s: %v, want %v: %s", user, door, well, want, out)
			}
		}
	}
}
