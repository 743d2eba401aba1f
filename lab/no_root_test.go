//go:build lab

// 7. No root, no sudo, no shell: the daemon owns nothing, and the helper is asked by it alone.

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// grantFiles are what netwatch grant writes.
const grantFiles = "/etc/polkit-1/rules.d/50-netwatch.rules " +
	"/etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf"

// governed has netwatch run for one of the coturns, as it is installed.
func governed(t *testing.T, c Coturn) {
	t.Helper()
	fresh(t, c)
	watching(t, configuration(c, every.String()), FirstPublic)
}

// The main job, by a daemon that may nothing.
func TestUnprivileged(t *testing.T) {
	for _, c := range []Coturn{YunoHost, Debian} {
		t.Run(c.Unit, func(t *testing.T) {
			governed(t, c)
			pid := show(t, "netwatch.service", "MainPID")
			status := shell(t, "cat /proc/"+pid+"/status")
			uid := shell(t, "id -u netwatch")
			for _, want := range []string{
				`Uid:(\t` + uid + `){4}\n`, `CapPrm:\t0+\n`, `CapEff:\t0+\n`, `CapBnd:\t0+\n`,
				`CapAmb:\t0+\n`, `NoNewPrivs:\t1\n`,
			} {
				if !regexp.MustCompile(want).MatchString(status) {
					t.Errorf("the daemon is not so: %s\n%s", want, status)
				}
			}
			if out, err := server.ExecAs(t.Context(), "netwatch", "cat", c.File); err == nil {
				t.Errorf("the daemon's user can read %s:\n%s", c.File, out)
			}
			before := shell(t, "stat -c '%U:%G %a' "+c.File+"; getfacl -cp "+c.File)
			must(t, world.SetPublic(t.Context(), Public(11)))
			right(t, Public(11), Public(11), every+settle+spare)
			if after := shell(t, "stat -c '%U:%G %a' "+c.File+"; getfacl -cp "+c.File); after != before {
				t.Errorf("after:\n%s\nbefore:\n%s", after, before)
			}
			refusesStrangers(t, Public(11))
		})
	}
}

// With two families the helper needs addresses of this machine, which it has no
// network to see.
func TestUnprivilegedBothFamilies(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, sourceStun(every.String(), true)+ruleCoturn(YunoHost.File+" private=auto families=ipv4,ipv6",
		YunoHost.Unit), Public6)
	want := "external-ip=2001:db8:50::2/2001:db8:50::2\nexternal-ip=" + FirstPublic.String() + "/" + Private.String()
	if lines := shell(t, "grep external-ip "+YunoHost.File+" | sort"); lines != want {
		t.Errorf("coturn.conf has\n%s\nwant\n%s", lines, want)
	}
}

func TestExposure(t *testing.T) {
	governed(t, YunoHost)
	for unit, most := range map[string]float64{"netwatch.service": 1.5, "netwatch-file@x.service": 1.9} {
		out := shell(t, "systemd-analyze --no-pager security "+unit)
		found := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("systemd-analyze says\n%s", out)
		}
		if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > most {
			t.Errorf("the exposure of %s is %s (%v), want %v at most:\n%s", unit, found[1], err, most, out)
		}
	}
	if caps := show(t, "netwatch-file@x.service",
		"CapabilityBoundingSet"); caps != "cap_chown cap_fowner cap_setgid cap_setuid cap_lease" {
		t.Errorf("the helper has %s", caps)
	}
}

// as runs a command line in the server with the rights of a user.
func as(t *testing.T, user, line string) (out string, well bool) {
	t.Helper()
	out, err := server.ExecAs(t.Context(), user, "sh", "-c", line+" 2>&1")
	return out, err == nil
}

// denied are ways to more than was granted for configuration(YunoHost), tried
// with the rights of the daemon.
var denied = map[string]string{
	"transient service":           "systemd-run --no-ask-password --unit=evil --wait touch /etc/evil",
	"transient service, its name": "systemd-run --no-ask-password --unit=synapse-coturn.service --wait touch /etc/evil",
	"transient service, near name": "systemd-run --no-ask-password --unit=synapse-coturn.service.service " +
		"--wait touch /etc/evil",
	"transient scope":   "systemd-run --no-ask-password --scope touch /etc/evil",
	"transient timer":   "systemd-run --no-ask-password --on-active=0 touch /etc/evil",
	"stop":              "systemctl --no-ask-password stop synapse-coturn.service",
	"start":             "systemctl --no-ask-password start synapse-coturn.service",
	"try-restart":       "systemctl --no-ask-password try-restart synapse-coturn.service",
	"reload-or-restart": "systemctl --no-ask-password reload-or-restart synapse-coturn.service",
	"kill":              "systemctl --no-ask-password kill synapse-coturn.service",
	"reset-failed":      "systemctl --no-ask-password reset-failed synapse-coturn.service",
	"freeze":            "systemctl --no-ask-password freeze synapse-coturn.service",
	"clean":             "systemctl --no-ask-password clean synapse-coturn.service",
	"set-property": "systemctl --no-ask-password set-property --runtime " +
		"synapse-coturn.service MemoryMax=1M",
	"bind":                        "systemctl --no-ask-password bind --mkdir synapse-coturn.service /etc /tmp/etc",
	"disable":                     "systemctl --no-ask-password disable synapse-coturn.service",
	"link":                        "systemctl --no-ask-password link /tmp/evil.service",
	"mask":                        "systemctl --no-ask-password mask synapse-coturn.service",
	"daemon-reload":               "systemctl --no-ask-password daemon-reload",
	"set-environment":             "systemctl --no-ask-password set-environment LD_PRELOAD=/tmp/evil.so",
	"another unit":                "systemctl --no-ask-password restart systemd-journald.service",
	"netwatch itself":             "systemctl --no-ask-password restart netwatch.service",
	"the helper without a socket": "systemctl --no-ask-password start netwatch-file@evil.service",
	"look-alike: case":            "systemctl --no-ask-password restart Synapse-coturn.service",
	"look-alike: template":        "systemctl --no-ask-password restart synapse-coturn@evil.service",
	"look-alike: longer":          "systemctl --no-ask-password restart synapse-coturn.service.service",
	"look-alike: a dot is any":    "systemctl --no-ask-password restart synapse-coturn-service.service",
	"look-alike: quoted":          `systemctl --no-ask-password restart 'synapse-coturn.service\x00.service'`,
	"its file":                    "sh -c 'echo >>/etc/matrix-synapse/coturn.conf'",
	"its unit file":               "sh -c 'echo >>/etc/systemd/system/synapse-coturn.service'",
	"a drop-in":                   "mkdir /etc/systemd/system/synapse-coturn.service.d",
	"a rule":                      "touch /etc/polkit-1/rules.d/00-evil.rules",
	"the configuration":           "sh -c 'echo >>/etc/netwatch/netwatch.toml'",
	"grant":                       "netwatch grant",
}

// refusesAsSystem is how systemd, the kernel and netwatch refuse. From 257 on
// systemd says of a unit without a mount namespace that nothing can be bound there
// before it asks polkit.
var refusesAsSystem = regexp.MustCompile(`(?i)interactive authentication required|access denied|` +
	`permission denied|operation not permitted|cannot live mount`)

func TestUnitsThatAreNotGranted(t *testing.T) {
	governed(t, YunoHost)
	for _, name := range []string{
		"Synapse-coturn", "synapse-coturn@", "synapse-coturn.service",
		"synapse-coturn-service",
	} {
		must(t, server.WriteFile("/etc/systemd/system/"+name+".service", "[Service]\nExecStart=/bin/sleep infinity\n", 0o644))
	}
	shell(t, "ln -sfn synapse-coturn.service /etc/systemd/system/turn-alias.service; systemctl daemon-reload")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c",
			"cd /etc/systemd/system && rm -f Synapse-coturn.service synapse-coturn@.service synapse-coturn.service.service "+
				"synapse-coturn-service.service turn-alias.service; systemctl daemon-reload")
		if err != nil {
			t.Error(err)
		}
	})
	check := untouched(t, YunoHost)
	for name, line := range denied {
		if out, well := as(t, "netwatch", line); well || !refusesAsSystem.MatchString(out) {
			t.Errorf("%s: %s is not refused (it ended well: %v):\n%s", name, line, well, out)
		}
	}
	if out := shell(t, "ls /etc/evil /etc/systemd/system.control /run/systemd/system.control 2>/dev/null; "+
		"true"); out != "" {
		t.Errorf("there is %s", out)
	}
	check("all that")
	// An alias is the same unit, to polkit as well; and this shows that what was
	// refused was not refused for another reason.
	for _, unit := range []string{"turn-alias.service", "synapse-coturn.service"} {
		if out, well := as(t, "netwatch", "systemctl --no-ask-password restart "+unit); !well {
			t.Errorf("what is granted is refused:\n%s", out)
		}
	}
	if out, well := as(t, "nobody", "systemctl --no-ask-password restart synapse-coturn.service"); well {
		t.Errorf("it is granted to others too:\n%s", out)
	}
}

// askHelper sends lines to the helper as a user and returns its answers.
func askHelper(t *testing.T, user string, lines ...string) string {
	t.Helper()
	const program = `use IO::Socket::UNIX;
$s = IO::Socket::UNIX->new(Peer => "/run/netwatch-file/socket") or die "connecting: $!\n";
$SIG{PIPE} = "IGNORE"; $s->autoflush(1); print $s $ARGV[0]; $s->shutdown(1); print while <$s>;`
	out, _ := server.Command(t.Context(), "runuser", "-u", user, "--", "perl", "-e", program, strings.Join(lines, "\n")+
		"\n").CombinedOutput()
	return string(out)
}

// request is one as the daemon makes it, with some of it replaced or, by null,
// left out.
func request(t *testing.T, other string) string {
	t.Helper()
	q := map[string]any{
		"server": "coturn", "file": YunoHost.File,
		"public": map[string]string{"ipv4": Public(77).String()}, "own": map[string]string{"ipv4": Private.String()},
	}
	must(t, json.Unmarshal([]byte(other), &q))
	text, err := json.Marshal(q)
	must(t, err)
	return string(text)
}

// refusals are requests that differ from a right one in this, and what they are
// told.
var refusals = map[string]struct{ other, says string }{
	"another file":              {`{"file": "/etc/shadow"}`, "was granted"},
	"a file beside it":          {`{"file": "/etc/matrix-synapse/coturn_env"}`, "was granted"},
	"its directory":             {`{"file": "/etc/matrix-synapse"}`, "was granted"},
	"up and down":               {`{"file": "/etc/matrix-synapse/../matrix-synapse/coturn.conf"}`, "was granted"},
	"up":                        {`{"file": "/etc/matrix-synapse/coturn.conf/../../shadow"}`, "was granted"},
	"a double slash":            {`{"file": "/etc//matrix-synapse/coturn.conf"}`, "was granted"},
	"relative":                  {`{"file": "coturn.conf"}`, "was granted"},
	"more after a zero byte":    {`{"file": "/etc/matrix-synapse/coturn.conf\u0000"}`, "was granted"},
	"a symlink to it":           {`{"file": "/tmp/attack/coturn.conf"}`, "was granted"},
	"no file":                   {`{"file": null}`, "was granted"},
	"another server":            {`{"server": "livekit"}`, "was granted"},
	"another private=":          {`{"options": {"private": "auto"}}`, "was granted"},
	"no private=":               {`{"options": {"private": ""}}`, "was granted"},
	"a private address":         {`{"public": {"ipv4": "192.168.1.1"}}`, "not public"},
	"a carrier's address":       {`{"public": {"ipv4": "100.64.0.1"}}`, "not public"},
	"a loopback address":        {`{"public": {"ipv4": "127.0.0.1"}}`, "not public"},
	"no address":                {`{"public": {"ipv4": "0.0.0.0"}}`, "not public"},
	"an empty address":          {`{"public": {"ipv4": ""}}`, "no address"},
	"a mapped address":          {`{"public": {"ipv6": "::ffff:203.0.113.1"}}`, "not a global unicast"},
	"a link-local address":      {`{"public": {"ipv6": "fe80::1"}}`, "not a global unicast"},
	"an address with a zone":    {`{"public": {"ipv6": "2001:db8::1%eth0"}}`, "not a global unicast"},
	"a line in the address":     {`{"public": {"ipv4": "203.0.113.9\nno-auth"}}`, "ParseAddr"},
	"another family":            {`{"public": {"ipv6": "203.0.113.9"}}`, "not an ipv6 address"},
	"no family":                 {`{"public": {"ipv5": "203.0.113.9"}}`, "not a family"},
	"no addresses":              {`{"public": null}`, "no public address"},
	"a public address as own":   {`{"own": {"ipv4": "198.51.100.9"}}`, "not an address that a machine behind NAT has"},
	"a loopback address as own": {`{"own": {"ipv4": "127.0.0.1"}}`, "not an address that a machine behind NAT has"},
	"no address as own":         {`{"own": {"ipv4": "0.0.0.0"}}`, "not an address that a machine behind NAT has"},
	"a line as own":             {`{"own": {"ipv4": "192.168.50.2\nno-auth"}}`, "ParseAddr"},
	"another family as own":     {`{"own": {"ipv6": "192.168.50.2"}}`, "not an ipv6 address"},
	"more than is known":        {`{"content": "no-auth"}`, "unknown field"},
}

// answered is what the last of the helper's answers says.
func answered(t *testing.T, out string) (a struct{ Outcome, Detail, Error, Hint string }) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &a); err != nil {
		t.Errorf("the helper's answer: %v: %s", err, out)
	}
	return a
}

const goAhead = `{"go":true}`

func TestHelperRefuses(t *testing.T) {
	governed(t, YunoHost)
	shell(t, "runuser -u netwatch -- sh -c 'mkdir -p /tmp/attack; ln -sfn "+YunoHost.File+" /tmp/attack/coturn.conf'")
	check := untouched(t, YunoHost)
	for name, c := range refusals {
		if a := answered(t, askHelper(t, "netwatch", request(t, c.other), goAhead)); a.Outcome != "failed" ||
			!strings.Contains(a.Error, c.says) {
			t.Errorf("%s: %+v, want %q", name, a, c.says)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no object": "[]", "no JSON": "GET / HTTP/1.1\r\n",
		"too much":  strings.Repeat(" ", 1<<16) + request(t, "{}"),
		"two files": strings.TrimSuffix(request(t, "{}"), "}") + `, "file": "/etc/shadow"}`,
	} {
		if a := answered(t, askHelper(t, "netwatch", text, goAhead)); a.Outcome != "failed" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// Who may connect, and who may ask.
	shell(t, "id alice 2>/dev/null || useradd alice; usermod -aG netwatch alice")
	undo(t, "userdel alice")
	for user, says := range map[string]string{
		"nobody": "Permission denied", "synapse": "Permission denied",
		"alice": "Permission denied",
	} {
		if out := askHelper(t, user, request(t, "{}"), goAhead); !strings.Contains(out, says) {
			t.Errorf("%s is told %s", user, out)
		}
	}
	// Without a word of the daemon's nothing changes, and nothing is left.
	for _, last := range []string{"", `{"go":false}`, `{}`, "go"} {
		out := askHelper(t, "netwatch", request(t, "{}"), last)
		if a := answered(t, out); a.Outcome != "failed" || !strings.Contains(out, `{"changing":{"place":"`) {
			t.Errorf("after %q it says %s", last, out)
		}
	}
	check("all that")
	if left := shell(t, "ls -A /etc/matrix-synapse"); left != "coturn.conf\ncoturn_env" {
		t.Errorf("in coturn's directory there is %q", left)
	}
	// What was refused was not refused for another reason.
	if a := answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead)); a.Outcome != "changed" {
		t.Errorf("what is granted is refused: %+v", a)
	}
}

// Who may write coturn's directory cannot have the helper write elsewhere.
func TestHelperFollowsNoStrangersLink(t *testing.T) {
	governed(t, YunoHost)
	shell(t, "systemctl stop netwatch.service")
	must(t, server.WriteFile("/etc/matrix-victim/victim.conf", CoturnConf("203.0.113.1"), 0o640))
	shell(t, "runuser -u synapse -- sh -c 'mv "+YunoHost.File+
		" /etc/matrix-synapse/away; ln -s /etc/matrix-victim/victim.conf "+YunoHost.File+"'")
	a := answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead))
	if a.Outcome != "failed" || !strings.Contains(a.Error, "user synapse decides where the way to it leads") {
		t.Errorf("of a stranger's link it says %+v", a)
	}
	// Not even root's link leads further than synapse may write, in whose directory
	// it is, nor out of the directories that were granted.
	shell(t, "ln -sfn /etc/matrix-victim/victim.conf "+YunoHost.File)
	a = answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead))
	if a.Outcome != "failed" || !strings.Contains(a.Error, "user synapse decides where the way to it leads") {
		t.Errorf("of root's link in their directory it says %+v", a)
	}
	shell(t, "chown synapse /etc/matrix-victim /etc/matrix-victim/victim.conf")
	before := shell(t, "stat -c '%i %U %a %z' /etc/matrix-victim/victim.conf")
	a = answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead))
	if a.Outcome != "failed" || !strings.Contains(a.Error, "read-only file system") ||
		!strings.Contains(a.Hint, "name /etc/matrix-victim/victim.conf itself") {
		t.Errorf("of a link that was made after the grant it says %+v", a)
	}
	if after := shell(t, "stat -c '%i %U %a %z' /etc/matrix-victim/victim.conf"); after != before {
		t.Error("the other file was touched")
	}
	shell(t, "rm -r /etc/matrix-victim "+YunoHost.File+" /etc/matrix-synapse/away")
}

// With few capabilities the helper looks as closely as a root with all: it does
// not replace a file that somebody is writing, nor one that coturn cannot read.
func TestHelperLooksClosely(t *testing.T) {
	governed(t, YunoHost)
	check := untouched(t, YunoHost)
	writer := server.Command(t.Context(), "runuser", "-u", "synapse", "--", "sh", "-c", "exec 3>>"+YunoHost.File+
		"; echo open; read line")
	done, err := writer.StdinPipe()
	must(t, err)
	opened, err := writer.StdoutPipe()
	must(t, err)
	must(t, writer.Start())
	_, err = opened.Read(make([]byte, 4)) // It writes once the file is open.
	must(t, err)
	a := answered(t, askHelper(t, "netwatch", append([]string{request(t, "{}")},
		slices.Repeat([]string{goAhead}, 5)...)...))
	if a.Outcome != "failed" || !strings.Contains(a.Error, "it changed while it was being rewritten, 5 times") {
		t.Errorf("of a file that is open for writing it says %+v", a)
	}
	check("that")
	must(t, done.Close())
	_ = writer.Wait() // There was no line to read.

	shell(t, "setfacl -x u:turnserver "+YunoHost.File)
	check = untouched(t, YunoHost)
	a = answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead))
	if a.Outcome != "failed" || !strings.Contains(a.Error, "coturn (user turnserver) cannot read it") {
		t.Errorf("of a file that coturn cannot read it says %+v", a)
	}
	check("that")
}

// granted is what is granted now.
func granted(t *testing.T) string {
	t.Helper()
	return shell(t, "for f in "+grantFiles+"; do [ ! -e $f ] || { stat -c '%n %i %a %U' $f; cat $f; }; done")
}

// A reload gives what the configuration names now, and takes the rest back.
func TestReloadTakesBack(t *testing.T) {
	governed(t, YunoHost)
	restart := func(c Coturn) bool {
		_, well := as(t, "netwatch", "systemctl --no-ask-password restart "+c.Unit)
		return well
	}
	if !restart(YunoHost) || restart(Debian) {
		t.Fatal("not what the configuration names is granted")
	}
	first := granted(t)
	shell(t, "netwatch grant")
	if again := granted(t); again != first {
		t.Errorf("granting twice:\n%s\nbefore:\n%s", again, first)
	}

	t.Run("mistakes take nothing", func(t *testing.T) {
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", "[source.stun]\nagree = 9\n", 0o644))
		if out := shell(t, "netwatch grant 2>&1; systemctl reload netwatch.service 2>&1; echo code $?"); strings.Contains(out,
			"code 0") || !strings.Contains(out, "agree") {
			t.Errorf("granting by a configuration with mistakes:\n%s", out)
		}
		if now := granted(t); now != first {
			t.Errorf("it grants\n%s\nbefore:\n%s", now, first)
		}
		must(t, world.SetPublic(t.Context(), Public(12)))
		right(t, Public(12), Public(12), every+settle+spare)
	})
	t.Run("another's configuration gives nothing", func(t *testing.T) {
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(Debian, "1h"), 0o644))
		shell(t, "chown netwatch /etc/netwatch/netwatch.toml")
		if out := shell(t, "netwatch grant 2>&1; systemctl reload netwatch.service 2>&1; echo code $?"); strings.Contains(out,
			"code 0") || !strings.Contains(out, "belongs to user") {
			t.Errorf("granting by a configuration of netwatch's own:\n%s", out)
		}
		if now := granted(t); now != first {
			t.Errorf("it grants\n%s\nbefore:\n%s", now, first)
		}
	})
	shell(t, "chown root /etc/netwatch/netwatch.toml; systemctl reload netwatch.service")
	if restart(YunoHost) || !restart(Debian) {
		t.Errorf("not what the new configuration names is granted:\n%s", granted(t))
	}
	if a := answered(t, askHelper(t, "netwatch", request(t, "{}"), goAhead)); !strings.Contains(a.Error, "was granted") {
		t.Errorf("of the old file the helper says %+v", a)
	}
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml",
		"[[rule]]\non = [\"started\"]\ndo = [\"exec /bin/true\"]\n", 0o644))
	shell(t, "systemctl reload netwatch.service")
	if now := granted(t); now != "" || restart(Debian) {
		t.Errorf("where nothing is needed there is\n%s", now)
	}
}

// What systemd and JSON make of a name is the name.
func TestGrantOddNames(t *testing.T) {
	fresh(t, YunoHost)
	const file = `/etc/odd "name" %i $HOME \ \x41 'é/turn $$.conf`
	must(t, server.WriteFile(file, CoturnConf("203.0.113.1"), 0o600))
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "rm -r /etc/odd*"); err != nil {
			t.Error(err)
		}
	})
	step := "rotate coturn '" + strings.ReplaceAll(file, "'", `'\''`) + "'"
	watching(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n[[rule]]\non = [\"started\"]\ndo = [\"\"\""+
		strings.ReplaceAll(step, `\`, `\\`)+"\"\"\"]\n", FirstPublic)
	if out, code := fire(t, "started"); code != 0 || !strings.Contains(out, "unchanged") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if text := shell(t, "cat /etc/odd*/turn*"); text != CoturnConf(FirstPublic.String()) {
		t.Errorf("the file is\n%s", text)
	}
}

// Names are granted as polkit gets to see them, and a unit that is not there is
// not to be started: it could be made up.
func TestGrantNames(t *testing.T) {
	fresh(t, YunoHost)
	shell(t, "ln -sfn synapse-coturn.service /etc/systemd/system/turn-alias.service; systemctl daemon-reload")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c",
			"rm /etc/systemd/system/turn-alias.service; systemctl daemon-reload")
		if err != nil {
			t.Error(err)
		}
	})
	config := `[[rule]]
on = ["go"]
settle = "0s"
do = ["restart turn-alias.service", "signal USR2 turn-alias.service", "try-restart turn-alias.service"]
[[rule]]
on = ["other"]
do = ["start turn-alias.service", "start lab-absent.service", "restart lab-absent.service", 'start lab-\x2d@a.service']
`
	must(t, install())
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	shell(t, "systemctl start netwatch.service")
	if out, code := fire(t, "go"); code != 0 {
		t.Errorf("steps on an alias:\n%s", out)
	}
	got := regexp.MustCompile(`\[".*"\]`).FindAllString(granted(t), -1)
	want := []string{
		`["lab-absent.service","restart"]`, `["synapse-coturn.service","kill"]`, `["synapse-coturn.service","restart"]`,
		`["synapse-coturn.service","start"]`, `["synapse-coturn.service","try-restart"]`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("granted is\n%q\nwant\n%q", got, want)
	}
}
