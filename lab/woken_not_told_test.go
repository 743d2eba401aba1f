//go:build lab

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// renewals is how often each program renews its certificate.
const renewals = 50

// ruleRenewed has coturn read its certificates again. It runs at the start too,
// which does no harm and lets idle see that it rests.
const ruleRenewed = `
[[rule]]
on = ["started", "cert-renewed"]
do = ["signal USR2 coturn-synapse.service"]
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
	for n := 1; n <= renewals; n++ {
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
	if len(events) != renewals {
		return fmt.Errorf("%d renewals are %d events", renewals, len(events))
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
