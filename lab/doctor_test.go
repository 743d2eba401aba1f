//go:build lab

package lab

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A finding is a line of netwatch doctor --json.
type finding struct{ Level, What, Found, Hint string }

// doctor is what netwatch doctor finds, and its exit code.
func doctor(t *testing.T) (all []finding, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := server.Command(ctx, "netwatch", "doctor", "--json").Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	must(t, err)
	for line := range strings.Lines(string(out)) {
		var f finding
		must(t, json.Unmarshal([]byte(line), &f))
		all = append(all, f)
	}
	return all, code
}

// finds wants one finding alone, of this level, about this and with these words in it,
// or none when nothing is wanted; every finding with its remedy, and the exit code 1
// for a problem only. To look changes nothing.
func finds(t *testing.T, want finding) {
	t.Helper()
	before := changedFiles(t) + show(t, YunoHost.Unit, "InvocationID")
	all, code := doctor(t)
	if after := changedFiles(t) + show(t, YunoHost.Unit, "InvocationID"); after != before {
		t.Error("doctor has changed something:", cmp.Diff(before, after))
	}
	var wrong []finding
	for _, f := range all {
		if f.Level == "warning" || f.Level == "problem" {
			wrong = append(wrong, f)
		}
	}
	if (code == 1) != (want.Level == "problem") || code > 1 {
		t.Errorf("exit code %d with %+v", code, wrong)
	}
	switch {
	case want == finding{} && len(wrong) > 0:
		t.Errorf("found %+v", wrong)
	case want != finding{} && (len(wrong) != 1 || !wrong[0].is(want)):
		t.Errorf("not %+v alone, but %+v", want, wrong)
	}
}

// changedFiles lists the server's files that are not as its Debian has them, with all
// that a change shows by. A file that is changed or removed becomes one of them.
func changedFiles(t *testing.T) string {
	t.Helper()
	return outside(t, "sh", "-ec", `cd "$1" && find etc usr var/lib/netwatch ! -type d \
		-printf '%p %i %s %m %u %l %T@ %C@\n' | sort`, "sh", filepath.Join(world.Dir(), "upper"))
}

// is says whether a finding has a remedy and is the one that is wanted.
func (f finding) is(want finding) bool {
	return f.Level == want.Level && f.What == want.What && strings.Contains(f.Found, want.Found) && f.Hint != ""
}

const (
	doctorDomain = "matrix.example.org"
	doctorVPN    = "/etc/openvpn/client/lab.conf"
	// doctorOld has a certificate that has expired, and its key.
	doctorOld = "/etc/expired"
)

// allWell sets up all that doctor looks at, as it should be.
func allWell(t *testing.T) {
	t.Helper()
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	_, err := server.Renew(doctorDomain)
	must(t, err)
	pair := certificates(doctorDomain)
	shell(t, fmt.Sprintf(`printf '\ncert=%s/crt.pem\npkey=%[1]s/key.pem\n' >>%s && systemctl enable %s 2>&1`, pair,
		YunoHost.File, YunoHost.Unit))
	shell(t, "cp /etc/hosts /run/hosts && echo "+FirstPublic.String()+" "+doctorDomain+" >>/etc/hosts")
	old := expired(t)
	must(t, errors.Join(server.WriteFile(doctorOld+"/crt.pem", old.Cert, 0o644),
		server.WriteFile(doctorOld+"/key.pem", old.Key, 0o644)))
	must(t, server.WriteFile(doctorVPN,
		"client\nremote vpn.example.org\nscript-security 2\nipchange \"/usr/bin/netwatch hook openvpn\"\n", 0o600))
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c", "systemctl disable "+YunoHost.Unit+
			" 2>&1; cp /run/hosts /etc/hosts; rm -r "+doctorVPN+" "+doctorOld+" /etc/yunohost/certs")
		if err != nil {
			t.Error(err)
		}
	})
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
}

// expired is a certificate that was good until yesterday, and its key.
func expired(t *testing.T) Pair {
	t.Helper()
	pair, err := NewPair(doctorDomain)
	must(t, err)
	block, _ := pem.Decode([]byte(pair.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	was := *pair.Leaf
	was.NotBefore, was.NotAfter = time.Now().AddDate(0, -3, 0), time.Now().AddDate(0, 0, -1)
	der, err := x509.CreateCertificate(rand.Reader, &was, &was, was.PublicKey, key)
	must(t, err)
	pair.Cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pair
}

// A break is one thing that is wrong, and what doctor has to say about it.
type doctorBreak struct {
	name string
	finding
	// do breaks it and undo mends it, in a shell of the server.
	do, undo string
}

func doctorBreaks() []doctorBreak {
	conf, pair := YunoHost.File, certificates(doctorDomain)
	kept := func(file, change string) (do, undo string) {
		return "cp -a " + file + " /run/kept && " + change, "cp -a /run/kept " + file
	}
	var all []doctorBreak
	add := func(name, what, words, do, undo string) {
		all = append(all, doctorBreak{name, finding{"problem", what, words, ""}, do, undo})
	}
	do, undo := kept(conf, "sed -i s/^external-ip=.*/external-ip=203.0.113.99/ "+conf)
	add("stale external-ip", conf, "external-ip is 203.0.113.99, and the public address 203.0.113.10", do, undo)
	do, undo = kept(conf, "sed -i s/^external-ip=.*/external-ip=/ "+conf)
	add("empty external-ip", conf, "external-ip is 0.0.0.0", do, undo)
	add("unit dead", YunoHost.Unit, "inactive", "systemctl stop "+YunoHost.Unit, "systemctl start "+YunoHost.Unit)
	add("unit disabled", YunoHost.Unit, "disabled", "systemctl disable "+YunoHost.Unit+" 2>&1", "systemctl enable "+
		YunoHost.Unit+" 2>&1")
	all[len(all)-1].Level = "warning" // It runs
	do, undo = kept("/etc/hosts", "sed -i s/^"+FirstPublic.String()+"/203.0.113.77/ /etc/hosts")
	add("domain elsewhere", doctorDomain, "leads to 203.0.113.77", do, undo)
	do, undo = kept(pair+"/crt.pem",
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -out "+pair+
			"/crt.pem -subj /CN=x 2>&1")
	add("key of another certificate", pair+"/crt.pem", "does not match", do, undo)
	add("certificate expired", pair+"/crt.pem", "it has expired",
		"cp -a "+pair+"/crt.pem "+pair+"/key.pem /run && cp "+doctorOld+"/*.pem "+pair,
		"cp -a /run/crt.pem /run/key.pem "+pair)
	do, undo = kept(doctorVPN, "sed -i 's/^script-security.*/script-security 1/' "+doctorVPN)
	add("OpenVPN may call nobody", doctorVPN, "script-security is 1", do, undo)
	cron := "/etc/cron.d/coturn_config_rotate"
	add("old cron", cron, "cron runs the script",
		"echo '*/15 * * * * root bash /var/www/synapse/Coturn_config_rotate.sh;' >"+cron, "rm "+cron)
	do, undo = kept(conf, "sed -i s/^external-ip=.*/external-ip=203.0.113.99/ "+conf+" && systemctl restart "+
		YunoHost.Unit+" && cp -a /run/kept "+conf)
	add("coturn started before", "relays by "+conf, "relays over 203.0.113.99", do, undo+
		" && systemctl restart "+YunoHost.Unit)
	rules := "/etc/polkit-1/rules.d/50-netwatch.rules"
	add("no polkit rule", "permissions", "polkit does not let", "mv "+rules+" /run/rules && systemctl restart polkit",
		"mv /run/rules "+rules+" && systemctl restart polkit")
	add("no helper", "permissions", "there is no helper", "systemctl stop netwatch-file.socket",
		"systemctl start netwatch-file.socket")
	add("daemon not started by the next boot", "daemon", "it will not be started at the next boot",
		"systemctl disable -q netwatch.service", "systemctl enable -q netwatch.service")
	all[len(all)-1].Level = "warning"
	stop := "systemctl stop netwatch.socket netwatch.service"
	add("daemon stopped", "daemon", "cannot be reached", stop, "systemctl start netwatch.service")
	add("daemon never started", "daemon", "it is not started", "systemctl disable -q netwatch.service && "+stop,
		"systemctl enable -q --now netwatch.service")
	all[len(all)-1].Level = "warning"
	return all
}

// Where all is well doctor finds nothing; each break alone, and nothing else.
func TestDoctor(t *testing.T) {
	allWell(t)
	finds(t, finding{})
	for _, b := range doctorBreaks() {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			t.Cleanup(func() {
				if _, err := server.Exec(context.Background(), "sh", "-c", b.undo); err != nil {
					t.Error(err)
				}
			})
			shell(t, b.do)
			finds(t, b.finding)
		})
	}
	idle(t, FirstPublic) // The daemon was started again, and does what started asks for.
	finds(t, finding{})
}

// Where processes are hidden, as YunoHost has it, polkit does not know them: doctor
// asks by another name, finds nothing wrong on a healthy machine, and still finds that
// a rule is missing.
func TestDoctorHiddenProcesses(t *testing.T) {
	allWell(t)
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c", "mount -o remount,hidepid=0 /proc; netwatch grant")
		must(t, err)
	})
	shell(t, "mount -o remount,hidepid=2 /proc && systemctl restart polkit.service")
	finds(t, finding{})
	shell(t, "rm /etc/polkit-1/rules.d/50-netwatch.rules && systemctl restart polkit.service")
	finds(t, finding{"problem", "permissions", "polkit does not let user ", "netwatch grant"})
}

// A server that says another address than the others is named.
func TestDoctorFindsLiar(t *testing.T) {
	allWell(t)
	must(t, stuns[2].Stop())
	liar, err := world.StartLiar(2, netip.MustParseAddr("203.0.113.99"))
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(liar.Stop(), stuns[2].Start(context.Background()))) })
	finds(t, finding{"problem", "servers of stun, ipv4", stuns[2].Addr().String() +
		" says 203.0.113.99, and the others 203.0.113.10", ""})
}

// A provider's NAT on the way is seen by the address of its router.
func TestDoctorFindsProvidersNAT(t *testing.T) {
	allWell(t)
	router := func(ctx context.Context, lines string) {
		must(t, ip(ctx, world.Router, lines))
	}
	t.Cleanup(func() {
		router(context.Background(), "addr del 100.64.7.1/24 dev lan\naddr add 192.168.50.1/24 dev lan\n")
		must(t, ip(context.Background(), world.Net, "route replace default via 192.168.50.1\n"))
	})
	router(t.Context(),
		"addr del 192.168.50.1/24 dev lan\naddr add 100.64.7.1/24 dev lan\nroute add 192.168.50.0/24 dev lan\n")
	must(t, ip(t.Context(), world.Net, "route replace default via 100.64.7.1 dev eth0 onlink\n"))
	for range 3 { // A router complains about packets once a second
		finds(t, finding{"warning", "address, ipv4", "100.64.7.1 is on the way", ""})
	}
}

// netwatch init finds the lab's coturn and what it replaces, writes what check
// takes, and with --migrate and --restore there and back.
func TestInit(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	must(t, server.WriteFile("/etc/cron.d/coturn_config_rotate",
		"*/15 * * * * root bash /opt/yunohost/synapse/Coturn_config_rotate.sh;\n", 0o644))
	shell(t, "rm -rf /etc/netwatch /var/backups/netwatch; chown synapse:netwatch /etc/cron.d/coturn_config_rotate; "+
		"chmod 604 /etc/cron.d/coturn_config_rotate")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "rm", "-rf", "/etc/cron.d/coturn_config_rotate", "/var/backups/netwatch")
		if err != nil {
			t.Error(err)
		}
	})
	stat := "stat -c %a%u%g /etc/cron.d/coturn_config_rotate; cat /etc/cron.d/coturn_config_rotate"
	before := shell(t, stat)
	if out := shell(t, "netwatch init --migrate --dry-run && ! test -e /etc/netwatch"); !strings.Contains(out,
		"remove /etc/cron.d/coturn_config_rotate") {
		t.Error("a dry run does not show what would go:", out)
	}
	shell(t, "netwatch init --migrate && netwatch check && ! test -e /etc/cron.d/coturn_config_rotate")
	if out := shell(t, "netwatch init --migrate"); !slices.Contains(strings.Split(out, "\n"), "nothing is to be done") {
		t.Error("done again:", out)
	}
	shell(t, "netwatch init --restore && ! test -e /etc/netwatch")
	if after := shell(t, stat); after != before {
		t.Errorf("restored, it is %q instead of %q", after, before)
	}
}
