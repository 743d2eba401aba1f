//go:build lab

// The lab's YunoHost is like a real one, and netwatch is well on it.

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// onYunoHost makes a lab of its own a YunoHost with two instances of the app.
func onYunoHost(t *testing.T) {
	t.Helper()
	leave, err := moveIn(t.Context(), Release(*release))
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	entrance = FirstPublic
	yunohostNetwork(t)
	appsOn(FirstPublic)(t)
}

// TestYunoHost is about the lab: what it stands in for was measured on a real one.
func TestYunoHost(t *testing.T) {
	onYunoHost(t)
	for _, a := range []App{FirstApp, SecondApp} {
		ctx := t.Context()
		// Plain UDP at the port of DTLS is answered all the same (4.6.1).
		for over, is := range map[Transport]string{TCP: silence, TLS: FirstPublic.String()} {
			if got, _ := (door{over: over, port: a.TLS, secret: a.Secret}).try(ctx); got != is {
				t.Errorf("over %s the coturn of %s gives %s", over, a.Name, got)
			}
		}
		served, err := Served(ctx, world.Inet, netip.AddrPortFrom(entrance, a.TLS))
		must(t, err)
		if served.Subject.CommonName != a.Domain {
			t.Errorf("the coturn of %s shows the certificate of %s", a.Name, served.Subject.CommonName)
		}
		before := show(t, a.Unit(), "InvocationID")
		_, err = server.InstallCertificate(ctx, a.Domain)
		must(t, err)
		if show(t, a.Unit(), "InvocationID") == before {
			t.Errorf("the app's own hook does not restart %s", a.Unit())
		}
		conf := a.Coturn().File
		must(t, server.Rendering(ctx, a, []netip.Addr{FirstPublic}, func() error {
			wantFile(t, conf, "440 root:root")
			return nil
		}))
		wantFile(t, conf, "640 synapse:synapse")
		shell(t, "runuser -u turnserver -- cat "+conf)
	}
	if anyone := shell(t, "runuser -u nobody -- ls /proc | grep -c '^1$' || true"); anyone != "0" {
		t.Error("/proc shows everybody all processes")
	}
	if listens := shell(t, "ss -Hlnup 'sport = :3478'"); !strings.Contains(listens, "turnserver") {
		t.Error("Debian's own coturn is not at port 3478:", listens)
	}
}

// wantFile wants a file to have a mode and an owner.
func wantFile(t *testing.T, name, want string) {
	t.Helper()
	if got := shell(t, "stat -c '%a %U:%G' "+name); got != want {
		t.Errorf("%s is %s, want %s", name, got, want)
	}
}

// madeAnew is what an upgrade of each app does to its file: netwatch sees what is in it,
// and proves it.
func madeAnew(t *testing.T) {
	t.Helper()
	for _, a := range []App{FirstApp, SecondApp} {
		news := follow(t)
		_, err := server.Exec(t.Context(), "sh", "-c", renderedAnew, "sh", a.Coturn().File, "# of an upgrade")
		must(t, err)
		_, err = news.wait(t.Context(), 1, aboutFile(netwatch.FileChanged, a.Coturn().File))
		must(t, err)
		runs, err := news.wait(t.Context(), 1, ended(netwatch.FileChanged))
		must(t, err)
		if runs[0].Outcome == netwatch.Failed {
			t.Errorf("the run that follows fails: %s", runs[0].Error)
		}
	}
}

// wellOnYunoHost holds that who does what netwatch says on a YunoHost as it is
// installed by default has no problem left, and a proof over TLS of each instance.
func wellOnYunoHost(t *testing.T) {
	for _, a := range []App{FirstApp, SecondApp} {
		says(t, "netwatch history", "verify turn "+a.Coturn().File+": unchanged: ipv4 "+entrance.String()+" (tls")
	}
	if all, code := doctor(t); code != 0 {
		t.Errorf("doctor exits %d: %+v", code, all)
	}
}

// leavesOthersAlone holds that what init writes does not take Debian's coturn for one to
// keep right, and that who rewrites the file of one instance has the rules of the other
// do nothing.
func leavesOthersAlone(t *testing.T) {
	t.Helper()
	if written := shell(t, "cat /etc/netwatch/netwatch.toml"); strings.Contains(written, Debian.File) {
		t.Errorf("init has adopted Debian's coturn:\n%s", written)
	}
	before := show(t, SecondApp.Coturn().Unit, "InvocationID")
	shell(t, "sed -i s/^external-ip=.*/external-ip=203.0.113.99/ "+FirstApp.Coturn().File)
	says(t, "netwatch history --json | grep file-changed", `"rule":"synapse-coturn rewritten"`)
	wait(t, 2*time.Second) // In which the other's rules could run.
	for line := range strings.Lines(shell(t, "netwatch history --json | grep file-changed")) {
		if strings.Contains(line, `"rule":"synapse__2`) {
			t.Error("the other's rule runs:", line)
		}
	}
	if show(t, SecondApp.Coturn().Unit, "InvocationID") != before {
		t.Error("the other's coturn was restarted")
	}
}

// A renewal by YunoHost is proven at the domain, also where that is the machine's own name,
// which Debian's installer has lead to 127.0.1.1, where no coturn listens.
func TestYunoHostRenews(t *testing.T) {
	onYunoHost(t)
	must(t, install())
	if own := shell(t, "getent ahostsv4 "+FirstApp.Domain); !strings.HasPrefix(own, "127.0.1.1 ") {
		t.Fatalf("%s leads to %s", FirstApp.Domain, own)
	}
	shell(t, "rm -rf /etc/netwatch && netwatch init && sed -i 's/^servers .*/"+
		strings.Split(sourceStun("1h", false), "\n")[1]+"/' /etc/netwatch/netwatch.toml")
	shell(t, "systemctl start netwatch.socket netwatch.service")
	idle(t, FirstPublic)
	for _, a := range []App{FirstApp, SecondApp} {
		_, err := server.InstallCertificate(t.Context(), a.Domain)
		must(t, err)
		says(t, "netwatch history", fmt.Sprintf("verify tls %s:%d: unchanged: ", a.Domain, a.TLS))
	}
}
