//go:build lab

// From nothing, netwatch init finds LiveKit, ejabberd, Janus and rtpengine, what it writes
// keeps their callers right, and when netwatch goes all is as it was.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netwatch/servers"
)

// initialize has init write what it finds here, and starts netwatch with that, but asks the
// lab's servers. It returns what init says.
func initialize(t *testing.T) string {
	t.Helper()
	must(t, install())
	shell(t, "rm -rf /etc/netwatch "+servers.AddedDir)
	said := shell(t, "netwatch init")
	stun := strings.Split(sourceStun("1s", false), "\n")[1] + `\nevery = "1s"\nfamilies = ["ipv4"]`
	shell(t, "sed -i 's/^servers .*/"+stun+"/' /etc/netwatch/netwatch.toml && netwatch check")
	shell(t, "systemctl reset-failed netwatch.service 2>/dev/null; systemctl start netwatch.socket netwatch.service")
	t.Cleanup(func() {
		if t.Failed() {
			log, err := server.Exec(context.Background(), "journalctl", "-b", "-o", "cat", "-n", "60", "-u", "netwatch.service")
			t.Logf("init says\n%s\nthe log of netwatch (%v):\n%s", said, err, log)
		}
	})
	idle(t, FirstPublic)
	return said
}

// ofOthers lists the files below /etc but netwatch's own and those of coturn, whose line keeps
// the last address, with owner, mode and list of rights.
const ofOthers = `cd /etc && find . -path '*/netwatch*' -prune -o -path '*/multi-user.target.wants' -prune -o ` +
	`-name coturn.conf -o -printf '%p %U %G %m %l\n' -type f -exec sha256sum {} + ` +
	`-exec getfacl -cp {} + | sort`

// goesAway takes netwatch away as its package does, and holds that nothing of it is left.
func goesAway(t *testing.T, before string) {
	t.Helper()
	shell(t, "systemctl stop netwatch.socket netwatch.service netwatch-file.socket; netwatch grant --revoke")
	shell(t, "netwatch init --restore || true")
	if after := shell(t, ofOthers); after != before {
		old := strings.Split(before, "\n")
		for line := range strings.SplitSeq(after, "\n") {
			if !strings.Contains(before, line) {
				t.Errorf("it is there now: %s", line)
			}
		}
		for _, line := range old {
			if !strings.Contains(after, line) {
				t.Errorf("it is no more: %s", line)
			}
		}
	}
}

// well holds that doctor finds no problem, and these.
func well(t *testing.T, want ...finding) {
	t.Helper()
	all, code := doctor(t)
	for _, f := range all {
		if f.Level == "problem" {
			t.Errorf("doctor finds %+v", f)
		}
	}
	if code != 0 {
		t.Errorf("doctor exits %d", code)
	}
	for _, w := range want {
		found := false
		for _, f := range all {
			found = found || f.Level == w.Level && f.What == w.What && strings.Contains(f.Found, w.Found)
		}
		if !found {
			t.Errorf("doctor does not find %+v in %+v", w, all)
		}
	}
}

// callsOnYunoHost gives both apps of YunoHost their LiveKit, as it is installed.
func callsOnYunoHost(t *testing.T) map[App]LiveKit {
	t.Helper()
	onYunoHost(t)
	must(t, world.Forward(t.Context(), YunoHostPorts+", "+CallPorts, Private))
	rules(t, world.Net, "add rule inet firewall in tcp dport { "+CallPorts+" } accept\n") // In place of nginx
	all := map[App]LiveKit{FirstApp: Calls, SecondApp: SecondCalls}
	for _, l := range all {
		l.Flags = "--node-ip " + FirstPublic.String()
		must(t, server.InstallLiveKit(t.Context(), l, ""))
		shell(t, "printf '[Install]\\nWantedBy=multi-user.target\\n' >>/etc/systemd/system/"+l.Unit+
			" && systemctl -q enable "+l.Unit)
	}
	return all
}

// TestInitFindsCalls holds that on a YunoHost with two instances of the app init writes what
// keeps coturn and LiveKit of both right, shows the drop-ins that this takes, and that they
// go with netwatch.
func TestInitFindsCalls(t *testing.T) {
	all := callsOnYunoHost(t)
	must(t, install())
	before := shell(t, ofOthers)
	said := initialize(t)
	for a, l := range all {
		dropIn := "/etc/systemd/system/" + l.Unit + ".d/zz-netwatch-flag.conf"
		for _, want := range []string{
			"livekit: " + l.Unit + " with " + l.File + ", version " + l.Version + ", ports ",
			"will write " + dropIn + ",\n", "+name = \"" + a.Name + "-livekit\"\n",
			"+  \"restart " + l.Unit + " drain=5s\",\n",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("init does not say %q", want)
			}
		}
		shell(t, "test -e "+dropIn)
	}
	to := Public(10)
	entrance = to
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), to))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, l := range all {
		when, err := world.WaitCall(ctx, netip.AddrPortFrom(to, l.Port), to)
		must(t, err)
		t.Logf("callers of %s are right after %v", l.Unit, when.Sub(changed).Round(time.Millisecond))
	}
	idle(t, to)
	var want []finding
	for a, l := range all {
		says(t, "netwatch history", "verify livekit "+l.File+": unchanged: ipv4 "+to.String()+" (",
			"verify turn "+a.Coturn().File+": unchanged: ipv4 "+to.String()+" (tls")
		want = append(want, finding{"ok", l.Unit, "leaves --node-ip out", ""},
			finding{"ok", "calls by " + l.File, l.Unit + ": callers get ipv4 " + to.String(), ""})
	}
	well(t, want...)
	goesAway(t, before)
	if line := show(t, Calls.Unit, "ExecStart"); !strings.Contains(line, "--node-ip "+FirstPublic.String()) {
		t.Error("systemd does not start it as before:", line)
	}
}

// TestInitFindsOneThatAsks holds that a LiveKit that asks for its address itself is started
// again when that is another, and one whose TURN server speaks TLS when its certificate is.
func TestInitFindsOneThatAsks(t *testing.T) {
	onYunoHost(t)
	must(t, world.Forward(t.Context(), YunoHostPorts+", "+CallPorts, Private))
	rules(t, world.Net, "add rule inet firewall in tcp dport { "+CallPorts+" } accept\n") // In place of nginx
	must(t, install())
	must(t, server.InstallLiveKit(t.Context(), Calls, ""))
	certs := certificates(FirstApp.Domain)
	shell(t, fmt.Sprintf("sed -i 's/use_external_ip: .*/use_external_ip: true\\n  stun_servers: [%q]/' %s && "+
		"printf 'turn: {enabled: true, domain: %s, tls_port: 7892, cert_file: %s/crt.pem, key_file: %[4]s/key.pem}\\n' "+
		">>%[2]s",
		stuns[0].Addr(), Calls.File, FirstApp.Domain, certs))
	shell(t, "usermod -aG ssl-cert synapse; systemctl restart "+Calls.Unit)
	unlimited(t, Calls.Unit)
	rightCall(t, FirstPublic, FirstPublic)
	if at := shell(t, "ss -Hlnup 'sport = :7882'"); !strings.Contains(at, Private.String()+":7882") {
		t.Errorf("it listens at all addresses, and not at those that it has when it starts: %s", at)
	}
	said := initialize(t)
	for _, want := range []string{
		"+  \"restart " + Calls.Unit + " always drain=5s\",\n", "\"restart " + Calls.Unit + " drain=60s\"",
	} {
		if !strings.Contains(said, want) || strings.Contains(said, "rotate livekit") {
			t.Errorf("init does not say %q, or that its file is rotated", want)
		}
	}
	to := Public(10)
	entrance = to
	must(t, world.SetPublic(t.Context(), to))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // Without a way back it waits 5 s for each question.
	defer cancel()
	_, err := world.WaitCall(ctx, netip.AddrPortFrom(to, Calls.Port), to)
	must(t, err)
	must(t, until(ctx, pause, func() error {
		text, err := server.Exec(ctx, "netwatch", "status", "--json")
		return errors.Join(err, atRest(text, to))
	}))
	leaf, err := server.InstallCertificate(t.Context(), FirstApp.Domain)
	must(t, err)
	must(t, until(ctx, pause, func() error { // It listens some time after its start.
		served, err := Served(ctx, world.Inet, netip.AddrPortFrom(to, 7892))
		if err == nil && !served.Equal(leaf) {
			err = errors.New("its TURN server serves the old certificate")
		}
		return err
	}))
	well(t, finding{"ok", "calls by " + Calls.File, Calls.Unit + ": callers get ipv4 " + to.String(), ""})
}

// TestDoctorFindsDropIns holds that who does what doctor says about a drop-in, by the letter,
// has a LiveKit that heeds its file.
func TestDoctorFindsDropIns(t *testing.T) {
	callsOnYunoHost(t)
	initialize(t)
	unit, dir := "/etc/systemd/system/"+Calls.Unit, "/etc/systemd/system/"+Calls.Unit+".d"
	ours := dir + "/zz-netwatch-flag.conf"
	unlimited(t, Calls.Unit)
	for _, c := range []struct{ name, breaks, level, words string }{
		{"missing", "rm " + ours + "; systemctl daemon-reload", "problem", "and nothing leaves it out"},
		{
			"not made", "systemctl stop netwatch; mv " + ours + " /run/x; systemctl daemon-reload; mv /run/x " + ours,
			"problem", "netwatch-generator has not made ",
		},
		{"stale", "sed -i 's/--node-ip/--region x --node-ip/' " + unit, "problem", "has another command line than"},
		{
			"of another", "printf '[Service]\\nExecStart=\\n%s\\n' \"$(grep ^ExecStart= " + unit + ")\" >" + dir +
				"/zzz.conf; systemctl daemon-reload", "problem", dir + "/zzz.conf comes after ",
		},
		{"not needed", "rm " + dir + "/*zzz.conf; sed -i 's/ --node-ip .*//' " + unit, "warning", "it has no --node-ip"},
	} {
		shell(t, c.breaks)
		f := among(t, finding{c.level, Calls.Unit, c.words, ""})
		shell(t, f.Hint)
		shell(t, "systemctl start netwatch")
		notAmong(t, f)
		all, _ := doctor(t)
		for _, left := range all {
			if left.What == Calls.Unit && left.Level != "ok" {
				t.Errorf("%s: then doctor finds %+v", c.name, left)
			}
		}
		if started := shell(t, "tr '\\0' ' ' </proc/"+show(t, Calls.Unit, "MainPID")+"/cmdline"); strings.Contains(started,
			"--node-ip") {
			t.Errorf("%s: it is started as %s", c.name, started)
		}
	}
}

// packaged are ejabberd, Janus and rtpengine as Debian's packages install them, and run. But
// rtpengine has no module of the kernel's, and ejabberd keeps passwords in a form by which
// it can prove callers.
func packaged(t *testing.T) {
	t.Helper()
	others(t, "ejabberd", "janus", "rtpengine-daemon")
	shell(t, "systemd-tmpfiles --create; sed -i 's/^table = 0/table = -1/' /etc/rtpengine/rtpengine.conf; "+
		"sed -i 's/^auth_password_format: scram/auth_password_format: plain/' /etc/ejabberd/ejabberd.yml; "+
		"systemctl daemon-reload; systemctl -q enable --now ejabberd janus rtpengine-daemon")
	for _, unit := range []string{"ejabberd.service", "janus.service", "rtpengine-daemon.service"} {
		unlimited(t, unit)
	}
}

// TestInitFindsPackaged holds the same of the servers that Debian packages; of rtpengine,
// whose file names no address of this machine, first that init says so.
func TestInitFindsPackaged(t *testing.T) {
	packaged(t)
	must(t, install())
	first := shell(t, "rm -rf /etc/netwatch; netwatch init --dry-run")
	for _, want := range []string{
		"ejabberd: ejabberd.service with /etc/ejabberd/ejabberd.yml, version ",
		"janus: janus.service with /etc/janus/janus.jcfg",
		"rtpengine: rtpengine-daemon.service with /etc/rtpengine/rtpengine.conf, version ",
		"    left alone: the public address is not added", "+# mod_stun_disco has no secret in it. netwatch doctor ",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("init does not say %q:\n%s", want, first)
		}
	}
	if strings.Contains(first, "rotate rtpengine") {
		t.Errorf("there is a rule that could do nothing:\n%s", first)
	}
	shell(t, "sed -i 's/^interface = any/interface = "+Private.String()+"/' /etc/rtpengine/rtpengine.conf; "+
		"systemctl restart rtpengine-daemon; ejabberdctl started; ejabberdctl register alice localhost secret")
	before := shell(t, ofOthers)
	initialize(t)
	caller = Caller{Namespace: world.Inet, Username: "alice", Password: "secret"}
	was := show(t, "ejabberd.service", "MainPID")
	for i := range 2 {
		to := Public(10 + i)
		must(t, world.SetPublic(t.Context(), to))
		tells(t, askJanus, to)
		tells(t, askRTPEngine, to)
		right(t, to, to, 20*time.Second)
		idle(t, to)
	}
	if is := show(t, "ejabberd.service", "MainPID"); is != was {
		t.Errorf("the process of ejabberd was %s and is %s", was, is)
	}
	well(t, finding{"ok", "/etc/janus/janus.jcfg", "nat_1_1_mapping is " + Public(11).String(), ""},
		finding{"unknown", "relays by /etc/ejabberd/ejabberd.yml", "mod_stun_disco has no secret in it", ""})
	goesAway(t, before)
}

// TestDoctorFindsServers holds that a server without a rule is found, and that what doctor
// says is enough.
func TestDoctorFindsServers(t *testing.T) {
	packaged(t)
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n"+
		"\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"probe stun\"]\n", FirstPublic)
	for _, file := range []string{"/etc/janus/janus.jcfg", "/etc/ejabberd/ejabberd.yml"} {
		f := among(t, finding{"problem", file, "no rule rotates it", ""})
		shell(t, f.Hint)
		idle(t, FirstPublic)
		notAmong(t, f)
	}
	tells(t, askJanus, FirstPublic)
	shell(t, "sed -i 's/\"restart janus.service\"/\"probe stun\"/' /etc/netwatch/netwatch.toml && "+
		"systemctl reload netwatch")
	among(t, finding{"warning", "/etc/janus/janus.jcfg", "has not janus.service follow", ""})
}
