//go:build lab

package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"netwatch"
)

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
		_, err := news.wait(t.Context(), n+1, aboutFile(netwatch.CertRenewed, renewed.file))
		must(t, err)
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
		for _, want := range []string{"reading " + file + ": permission denied", "hint: have what renews", "netwatch fire cert-renewed"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("the status does not say %q:\n%s", want, out)
			}
		}
		return nil
	}))
}
