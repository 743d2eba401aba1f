//go:build lab

package lab

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// noted is where a rule writes for each run which certificate it was about.
const noted = "/var/lib/lab-noted"

// ruleNoted notes each renewal that was acted on. A start alone is no reason to:
// it would hide a renewal that was lost.
const ruleNoted = `
[[rule]]
on = ["cert-renewed"]
settle = "100ms"
do = ["exec /usr/local/bin/lab-note"]
`

// noting installs the program of ruleNoted, which has nothing noted yet.
func noting(t *testing.T) {
	t.Helper()
	must(t, server.WriteFile("/usr/local/bin/lab-note", "#!/bin/sh\necho \"$NETWATCH_NEW\" >>"+noted+"\n", 0o755))
	shell(t, "rm -f "+noted)
}

// A renewal that nobody watched is told when netwatch starts again, once.
func TestRenewalWhileStopped(t *testing.T) {
	fresh(t, YunoHost)
	asRoot(t)
	ways := []way{yunohost, acmesh, kubernetes, editor}
	certified(t, ways...)
	watching(t, sourceAddress()+sourceCert(ways...)+ruleRenewed, FirstPublic)
	shell(t, "systemctl stop netwatch.service")
	for _, w := range ways[:3] {
		_, err := w.put(t.Context(), 1)
		must(t, err)
	}
	shell(t, "systemctl start netwatch.service")
	news := follow(t)
	for _, w := range ways[:3] {
		if _, err := news.wait(t.Context(), 1, aboutFile(netwatch.CertRenewed, w.file)); err != nil {
			t.Fatalf("the renewal by %s: %v", w.name, err)
		}
	}
	_, err := news.wait(t.Context(), 1, ended(netwatch.CertRenewed))
	must(t, err)
	wait(t, 2*settle) // In which one too many would be told.
	all, _, _ := news.all(func(e netwatch.Entry) bool { return e.Kind == netwatch.EntryEvent && e.Event == netwatch.CertRenewed })
	if len(all) != 3 {
		t.Errorf("3 renewals are %d events: %+v", len(all), all)
	}
}

// A daemon that is killed at any moment around a renewal has acted on it in the
// end, once or at most twice.
func TestRenewalsAcrossKills(t *testing.T) {
	fresh(t, YunoHost)
	asRoot(t)
	unlimited(t, "netwatch.service")
	certified(t, yunohost)
	noting(t)
	begin(t, sourceAddress()+sourceCert(yunohost)+ruleNoted)
	const kills = 16
	var want []string
	for n := range kills {
		pair, err := yunohost.put(t.Context(), n+1)
		must(t, err)
		want = append(want, netwatch.Fingerprint(pair.Leaf.Raw))
		wait(t, time.Duration(n)*25*time.Millisecond)
		shell(t, "systemctl kill --kill-whom=main -s KILL netwatch.service; systemctl restart netwatch.service")
		actedOn(t, want[n])
	}
	got := strings.Fields(shell(t, "cat "+noted))
	if again := len(got) - kills; again > 0 {
		t.Logf("%d of %d renewals were acted on twice", again, kills)
	}
	for n, fingerprint := range want {
		times := 0
		for _, g := range got {
			if g == fingerprint {
				times++
			}
		}
		if times < 1 || times > 2 {
			t.Errorf("renewal %d was acted on %d times", n, times)
		}
	}
	if unknown := slices.DeleteFunc(got, func(g string) bool { return slices.Contains(want, g) }); len(unknown) > 0 {
		t.Errorf("these were never renewals: %v", unknown)
	}
}

// actedOn waits until the program has noted a renewal.
func actedOn(t *testing.T, fingerprint string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 20*time.Millisecond, func() error {
		_, err := server.Exec(t.Context(), "grep", "-q", fingerprint, noted)
		return err
	}))
}
