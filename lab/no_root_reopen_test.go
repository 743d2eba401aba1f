//go:build lab

// 7. No root, no sudo, no shell: what was opened to the daemon, and is made anew.

package lab

import (
	"strings"
	"testing"
	"time"

	"netwatch"
)

// renderedAnew is what the app's script does to coturn.conf: a new file, which is
// root's alone for a while, in a directory of synapse; and then it is as it was, but
// for what netwatch had been given. Its words are the file, and a line more in it.
const renderedAnew = `set -e
	cp "$1" /run/lab-rendered; echo "$2" >>/run/lab-rendered; rm "$1"
	install -o root -g root -m 440 /run/lab-rendered "$1"; sleep 1
	chown synapse:synapse "$1"; chmod 640 "$1"; setfacl -R -m user:turnserver:rX "$(dirname "$1")"`

// A file that is made anew is opened to the daemon again, without a restart: it sees
// that there is another content, and proves it, also where only the proof reads it.
func TestFileMadeAnew(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, following(YunoHost), FirstPublic)
	news := follow(t)
	for n := range 3 {
		_, err := server.Exec(t.Context(), "sh", "-c", renderedAnew, "sh", YunoHost.File, "# made anew")
		must(t, err)
		rendered := time.Now()
		events, err := news.wait(t.Context(), n+1, aboutFile(netwatch.FileChanged, YunoHost.File))
		must(t, err)
		t.Logf("seen %v after the script", events[n].Time.Sub(rendered))
		runs, err := news.wait(t.Context(), n+1, ended(netwatch.FileChanged))
		must(t, err)
		if runs[n].Outcome != netwatch.Unchanged {
			t.Errorf("verifying it was %s: %s", runs[n].Outcome, runs[n].Error)
		}
	}
	says(t, "netwatch status", "file-changed")
	if out := shell(t, "netwatch status"); strings.Contains(out, "denied") || strings.Contains(out, "watching, but") {
		t.Errorf("it cannot follow the file:\n%s", out)
	}
	onlyNetwatchReads(t, YunoHost)
}

// A file that no source follows is opened again to the proof that reads it.
func TestProofOfAFileMadeAnew(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, sourceAddress()+"[[rule]]\non = [\"prove\"]\ndo = [\"verify turn "+YunoHost.File+"\"]\n", FirstPublic)
	for range 3 {
		_, err := server.Exec(t.Context(), "sh", "-c", renderedAnew, "sh", YunoHost.File, "# made anew")
		must(t, err)
		if out, code := fire(t, "prove"); code != 0 {
			t.Errorf("a proof of the file ends with %d:\n%s", code, out)
		}
	}
}

// closing is what synapse does without end to have root work for him, or open what is
// not his: the file made anew, closed and opened, links and pipes in its place, and its
// directory in the place of another.
const closing = `cd /etc/matrix-synapse || exit
	end=$(($(date +%s) + $1))
	while [ "$(date +%s)" -lt "$end" ]; do
		cp coturn.conf new && chmod 600 new && mv new coturn.conf; chmod 640 coturn.conf
		mv coturn.conf kept; ln -s /etc/shadow coturn.conf; rm coturn.conf; ln -s /root/lab-closed/secret coturn.conf
		rm coturn.conf; mkfifo coturn.conf; rm coturn.conf; ln -s coturn.conf coturn.conf; rm coturn.conf; mv kept coturn.conf
		chmod 700 .; chmod 750 .; setfacl -m user:turnserver:rX . coturn.conf
	done`

// However often synapse changes what he owns, root looks seldom, and opens nothing that
// is not his.
func TestReopenUnderAFlood(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "mkdir -m 700 -p /root/lab-closed; echo secret >/root/lab-closed/secret; "+
		"chown synapse /root/lab-closed/secret; chmod 600 /root/lab-closed/secret")
	undo(t, "rm -rf /root/lab-closed; systemctl reset-failed netwatch-reopen.service 2>/dev/null || true")
	const victims = "getfacl -p /etc/shadow /root /root/lab-closed /root/lab-closed/secret"
	before := shell(t, victims)
	watching(t, following(YunoHost), FirstPublic)
	log := "journalctl -b -o cat -u netwatch-reopen.service --since '" + shell(t, "date '+%F %T'") + "'"
	_, err := server.ExecAs(t.Context(), "synapse", "bash", "-c", closing, "bash", "20")
	must(t, err)
	if after := shell(t, victims); after != before {
		t.Errorf("root has opened to the daemon\n%s\nit was\n%s", after, before)
	}
	runs := strings.Count(shell(t, log), "Starting netwatch-reopen.service")
	if runs == 0 || runs > 5+2+1 {
		t.Errorf("in 20 s root was asked %d times", runs)
	}
	t.Logf("root was asked %d times", runs)
	news := follow(t)
	synapseDoes(t, "echo '# at last' >>"+YunoHost.File)
	_, err = news.wait(t.Context(), 1, aboutFile(netwatch.FileChanged, YunoHost.File))
	must(t, err)
}

// A daemon that was taken over can have root open what is configured a hundred times in
// ten minutes, and neither have anything else done by that nor keep anything of his own
// from being done.
func TestReopenByATakenOverDaemon(t *testing.T) {
	onReleases(t, func(t *testing.T) {
		fresh(t, YunoHost)
		watching(t, following(YunoHost), FirstPublic)
		undo(t, "systemctl reset-failed netwatch-reopen.service || true")
		for _, line := range []string{
			"systemctl --no-ask-password restart netwatch-reopen.service",
			"systemctl --no-ask-password stop netwatch-reopen.service",
			"systemctl --no-ask-password start netwatch-open.service",
			"systemctl --no-ask-password set-property --runtime netwatch-reopen.service MemoryMax=1G",
		} {
			refuses(t, line)
		}
		const often = "n=0; for i in $(seq 130); do systemctl --no-ask-password start netwatch-reopen.service && " +
			"n=$((n + 1)); done 2>/dev/null; echo $n"
		out, err := server.ExecAs(t.Context(), "netwatch", "sh", "-c", often)
		must(t, err)
		if out != "100" {
			t.Errorf("root has done it %s times", out)
		}
		rotating := sourceAddress() + ruleCoturn(YunoHost.File, YunoHost.Unit)
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", rotating, 0o644))
		shell(t, "systemctl reload netwatch.service")
		if open := acls(t, YunoHost); strings.Contains(open, "user:netwatch") {
			t.Errorf("after a reload without a need:\n%s", open)
		}
		refuses(t, "systemctl --no-ask-password start netwatch-reopen.service")
	})
}
