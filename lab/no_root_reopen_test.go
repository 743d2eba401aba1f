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
