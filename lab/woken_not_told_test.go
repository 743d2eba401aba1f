//go:build lab

// 8. Woken, not told.

package lab

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// renewals is how often each program renews its certificate; 500 by `make chaos`.
func renewals() int { return many(15) }

// ruleRenewed has coturn read its certificates again. It runs at the start too,
// which does no harm and lets idle see that it rests.
const ruleRenewed = `
[[rule]]
on = ["started", "cert-renewed"]
do = ["signal USR2 synapse-coturn.service"]
`

// sourceCert watches the certificates of some ways, each by a source of its own:
// what wakes one is no reason for another to look.
func sourceCert(ways ...way) string {
	var all strings.Builder
	for _, w := range ways {
		fmt.Fprintf(&all, "\n[source.%s]\nkind = \"cert\"\nfiles = [%q]\n", w.name, w.file)
	}
	return all.String()
}

// sourceAddress knows the address and does not look again.
func sourceAddress() string { return sourceStun("1h", false) + `families = ["ipv4"]` + "\n" }

// authority starts a certificate authority that has issued nothing yet.
func authority(t *testing.T) *ACME {
	t.Helper()
	acme, err := server.StartACME(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := acme.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return acme
}

// certified puts a first certificate into place in each way, until the test ends.
func certified(t *testing.T, ways ...way) {
	t.Helper()
	shell(t, "mkdir -p /etc/yunohost/certs && groupadd -f ssl-cert && usermod -aG ssl-cert turnserver")
	t.Cleanup(func() {
		const forget = "rm -r /etc/yunohost/certs && rm -rf /etc/lab-acmesh /etc/lab-kubernetes /etc/lab-editor"
		if _, err := server.Exec(context.Background(), "sh", "-c", forget); err != nil {
			t.Error(err)
		}
	})
	for _, w := range ways {
		_, err := w.put(t.Context(), 0)
		must(t, err)
	}
}

// Every renewal is one event, however it is done, while other certificates are
// renewed at the same time. Each is made as soon as the one before is told.
func TestEveryRenewalIsOneEvent(t *testing.T) {
	fresh(t, YunoHost)
	asRoot(t)
	ways := []way{certbot(authority(t)), yunohost, acmesh, kubernetes, editor}
	certified(t, ways...)
	watching(t, sourceAddress()+sourceCert(ways...)+ruleRenewed, FirstPublic)
	coturn := incarnation(t, YunoHost.Unit)
	news := follow(t)
	fails := make(chan error)
	for _, w := range ways {
		go func() { // Ends with its renewals.
			times, err := w.renew(t.Context(), news)
			t.Logf("%s: told after its renewal: %s", w.name, times)
			fails <- err
		}()
	}
	for range ways {
		if err := <-fails; err != nil {
			t.Error(err)
		}
	}
	wait(t, 2*settle) // In which one too many would be told.
	for _, w := range ways {
		events, _, _ := news.all(aboutFile(netwatch.CertRenewed, w.file))
		if err := oneByOne(events); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
	}
	signalled(t, news)
	if now := incarnation(t, YunoHost.Unit); now != coturn {
		t.Errorf("coturn is another process: %s, was %s", now, coturn)
	}
}

// renew renews and waits for the event of that very certificate, again and again,
// and measures from the end of a renewal to its event.
func (w way) renew(ctx context.Context, news *follower) (Times, error) {
	var times Times
	for n := 1; n <= renewals(); n++ {
		pair, err := w.put(ctx, n)
		if err != nil {
			return times, err
		}
		renewed := time.Now()
		events, err := news.wait(ctx, n, aboutFile(netwatch.CertRenewed, w.file))
		if err != nil {
			return times, fmt.Errorf("%s: %w", w.name, err)
		}
		if leaf := pair.Leaf; leaf != nil && events[n-1].Fields["new"] != netwatch.Fingerprint(leaf.Raw) {
			return times, fmt.Errorf("%s: renewal %d is told as another certificate: %v", w.name, n, events[n-1].Fields)
		}
		times = append(times, max(0, events[n-1].Time.Sub(renewed)))
	}
	return times, nil
}

// oneByOne says what is wrong with the events about all renewals of a file:
// each begins where the one before ended, and all end at another certificate.
func oneByOne(events []netwatch.Entry) error {
	if len(events) != renewals() {
		return fmt.Errorf("%d renewals are %d events", renewals(), len(events))
	}
	seen := map[string]bool{events[0].Fields["old"]: true}
	for i, e := range events {
		if i > 0 && e.Fields["old"] != events[i-1].Fields["new"] || seen[e.Fields["new"]] {
			return fmt.Errorf("event %d does not follow from the one before: %v", i, e.Fields)
		}
		if e.Fields["names"] != domain || e.Fields["not-after"] == "" {
			return fmt.Errorf("event %d does not say what the certificate is: %v", i, e.Fields)
		}
		seen[e.Fields["new"]] = true
	}
	return nil
}

// signalled fails unless the rule rests and all that it did was well.
func signalled(t *testing.T, news *follower) {
	t.Helper()
	idle(t, FirstPublic)
	runs, _, _ := news.all(ended(netwatch.CertRenewed))
	t.Logf("coturn was signalled %d times", len(runs))
	if len(runs) == 0 {
		t.Error("coturn was never signalled")
	}
	failed, _, _ := news.all(func(e netwatch.Entry) bool { return e.Error != "" || e.Outcome == netwatch.Failed })
	for _, e := range failed {
		t.Errorf("this failed: %+v", e)
	}
}

// tlsPort is where coturn speaks TLS.
const tlsPort = 5349

// withTLS gives coturn the certificate of a way, as YunoHost does.
func withTLS(t *testing.T, w way) {
	t.Helper()
	lines := fmt.Sprintf(`tls-listening-port=%d\ncert=%s\npkey=%s`, tlsPort, w.file, w.key)
	shell(t, "sed -i 's|^no-tls$|"+lines+"|' "+YunoHost.File+" && setfacl -m user:turnserver:r "+YunoHost.File+
		" && systemctl restart "+YunoHost.Unit)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// public is where a client on the internet finds coturn's TLS.
var public = netip.AddrPortFrom(FirstPublic, tlsPort)

// serves waits until a certificate is shown at a public port to a client on the
// internet, or at a port of the server to one on its own network, and returns
// when that was.
func serves(t *testing.T, at netip.AddrPort, leaf *x509.Certificate) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 10*time.Millisecond, func() error {
		from := world.Inet
		if at.Addr() == Private {
			from = world.Net
		}
		got, err := Served(t.Context(), from, at)
		if err == nil && !got.Equal(leaf) {
			err = fmt.Errorf("%s serves certificate %x, not %x", at, got.SerialNumber, leaf.SerialNumber)
		}
		return err
	}))
	return time.Now()
}

// serving has coturn serve the first certificate of a way, and netwatch watch it.
func serving(t *testing.T, w way) {
	t.Helper()
	fresh(t, YunoHost)
	asRoot(t)
	certified(t)
	first, err := w.put(t.Context(), 0)
	must(t, err)
	withTLS(t, w)
	watching(t, sourceAddress()+sourceCert(w)+ruleRenewed, FirstPublic)
	serves(t, public, first.Leaf)
}

// A renewed certificate is served to the next caller, and whoever has a relayed
// address keeps it.
func TestCoturnServesTheNewCertificate(t *testing.T) {
	serving(t, yunohost)
	call, err := caller.Allocate(t.Context(), netip.AddrPortFrom(FirstPublic, Port), 4)
	must(t, err)
	defer call.Close() // It has served its purpose.
	coturn := incarnation(t, YunoHost.Unit)
	var times Times
	for n := range 5 {
		next, err := yunohost.put(t.Context(), n+1)
		must(t, err)
		renewed := time.Now()
		times = append(times, serves(t, public, next.Leaf).Sub(renewed))
		must(t, call.Refresh(t.Context()))
	}
	promised(t, times, time.Second)
	if now := incarnation(t, YunoHost.Unit); now != coturn {
		t.Errorf("coturn is another process: %s, was %s", now, coturn)
	}
}

// Half a renewal is not told: coturn, signalled while the key does not match,
// keeps the old certificate, and nothing would signal it again.
func TestCoturnIsNotToldOfHalfARenewal(t *testing.T) {
	serving(t, acmesh)
	next, err := NewPair(domain)
	must(t, err)
	must(t, server.WriteFile(acmesh.file, next.Cert, 0o644))
	wait(t, 2*settle)
	must(t, server.WriteFile(acmesh.key, next.Key, 0o644))
	serves(t, public, next.Leaf)
}

// deployHook is what an administrator installs for certbot.
const deployHook = "../contrib/certbot/netwatch"

// asUser runs the installed netwatch as its own user until the test ends.
func asUser(t *testing.T, user string) {
	t.Helper()
	const dir = "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/user.conf", "[Service]\nUser="+user+"\n", 0o644))
	shell(t, "systemctl daemon-reload")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c",
			"systemctl stop netwatch.service; rm -r /var/lib/netwatch "+dir+" && systemctl daemon-reload")
		if err != nil {
			t.Error(err)
		}
	})
}

// A daemon that may not look into /etc/letsencrypt says what to do about it, and
// with certbot's hook installed it hears of every renewal.
func TestCertbotTellsWhoMayNotLook(t *testing.T) {
	fresh(t, YunoHost)
	acme := authority(t)
	renewed := certbot(acme)
	certified(t, renewed)
	asUser(t, "netwatch")
	begin(t, sourceCert(renewed)+"\n[[rule]]\non = [\"cert-renewed\"]\ndo = [\"exec /bin/true\"]\n")
	saysRemedy(t, renewed.file)
	hook, err := os.ReadFile(deployHook)
	must(t, err)
	must(t, server.WriteFile("/etc/letsencrypt/renewal-hooks/deploy/netwatch", string(hook), 0o755))
	news := follow(t)
	for n := range 2 {
		must(t, acme.Renew(t.Context()))
		told, err := news.wait(t.Context(), n+1, aboutFile(netwatch.CertRenewed, renewed.file))
		must(t, err)
		leaf, _, _ := strings.Cut(shell(t, "openssl x509 -in "+renewed.file+" -outform DER | sha256sum"), " ")
		if is := told[n].Fields["new"]; is != leaf {
			t.Errorf("the hook says that the leaf is %s, and it is %s", is, leaf)
		}
		runs, err := news.wait(t.Context(), n+1, ended(netwatch.CertRenewed))
		must(t, err)
		if runs[n].Outcome != netwatch.Changed {
			t.Errorf("the rule was %s", runs[n].Outcome)
		}
	}
}

// saysRemedy waits until the status says that a file cannot be read and what to
// do about it.
func saysRemedy(t *testing.T, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error {
		out, err := server.Exec(t.Context(), "netwatch", "status")
		if err != nil {
			return err
		}
		for _, want := range []string{
			"reading " + file + ": permission denied", "hint: have what renews",
			"netwatch fire cert-renewed",
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("the status does not say %q:\n%s", want, out)
			}
		}
		return nil
	}))
}

// upgrade rewrites coturn.conf in place and restarts coturn, as an upgrade of
// the app does, and returns when that began.
func upgrade(t *testing.T, externalIP string) time.Time {
	t.Helper()
	must(t, server.WriteFile("/var/lib/lab-new/coturn.conf", CoturnConf(externalIP), 0o644))
	began := time.Now()
	shell(t, "cat /var/lib/lab-new/coturn.conf >"+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
	return began
}

// What an upgrade of the app put back is put right again, and what netwatch
// itself writes is not news to it.
func TestRewrittenFileIsPutRight(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, fmt.Sprintf(`%s
[source.file]
files = [%q]

[[rule]]
on = ["started", "ip-changed", "file-changed"]
do = ["rotate coturn %[2]s", "restart %s"]
`, sourceStun(every.String(), false)+`families = ["ipv4"]`, YunoHost.File, YunoHost.Unit), FirstPublic)
	news := follow(t)
	var times Times
	for i, externalIP := range []string{"198.51.100.9", "", "198.51.100.9", ""} {
		began := upgrade(t, externalIP) // By now coturn gives out the wrong address.
		times = append(times, right(t, FirstPublic, FirstPublic, 10*time.Second).Sub(began))
		runs, err := news.wait(t.Context(), i+1, ended(netwatch.FileChanged))
		must(t, err)
		if runs[i].Outcome != netwatch.Changed {
			t.Errorf("external-ip=%s: the run was %s", externalIP, runs[i].Outcome)
		}
		if got := shell(t, "cat "+YunoHost.File); got != CoturnConf(FirstPublic.String()) {
			t.Errorf("after external-ip=%s coturn.conf is:\n%s", externalIP, got)
		}
	}
	promised(t, times, time.Second)
	rewritten, _, _ := news.all(aboutFile(netwatch.FileChanged, YunoHost.File))

	to := Public(70)
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 20*time.Second)
	wait(t, 4*settle) // In which netwatch would find what it wrote.
	idle(t, to)
	all, _, _ := news.all(aboutFile(netwatch.FileChanged, YunoHost.File))
	if len(rewritten) != len(times) || len(all) != len(times) {
		t.Errorf("%d rewrites are %d events, and %d once netwatch has written", len(times), len(rewritten), len(all))
	}
	if log := shell(t, "netwatch history"); strings.Count(log, "file-changed from") != len(times) {
		t.Errorf("the history is:\n%s", log)
	}
}
