//go:build lab

package lab

import (
	"strings"
	"testing"
	"time"
	"unicode"
)

// evil is what the owner of coturn.conf and of a certificate writes into it, as
// printf(1) takes it: a title for the terminal of who reads it, a colour by a control
// character of eight bits, and the other direction of writing.
const evil = `\033]0;x\007\302\23331m\342\200\256`

// What strangers write does nothing to root's terminal, whatever he looks at.
func TestTerminalOfRoot(t *testing.T) {
	fresh(t, YunoHost)
	shell(t, "install -d -m 755 /etc/lab-evil")
	shell(t, "{ printf 'listening-port="+evil+"\nrealm="+evil+"\n'; cat "+YunoHost.File+"; } >/tmp/evil && cat /tmp/evil >"+YunoHost.File)
	undo(t, "rm -r /etc/lab-evil")
	const issue = `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8 -keyout /etc/lab-evil/key.pem \
		-out /etc/lab-evil/crt.pem -subj "/CN=$(printf '` + evil + `')" -addext "subjectAltName=DNS:$(printf 'a\033]0;x\007')" 2>&1
		chmod 644 /etc/lab-evil/*`
	shell(t, issue)
	watching(t, configuration(YunoHost, "200ms")+`
[source.cert]
files = ["/etc/lab-evil/crt.pem"]
[[rule]]
on = ["cert-renewed"]
settle = "0s"
do = ["exec /bin/echo renewed"]
[[rule]]
on = ["proof"]
settle = "0s"
retry = "0s"
do = ["verify turn `+YunoHost.File+`"]
`, FirstPublic)
	shell(t, issue)
	says(t, "netwatch history", "exec /bin/echo renewed: changed")
	shell(t, "printf -- '-----BEGIN "+evil+"-----\neA==\n-----END "+evil+"-----\n' >/etc/lab-evil/crt.pem")
	wait(t, time.Second)
	shown := 0
	for _, command := range []string{
		"netwatch fire proof", "netwatch fire cert-renewed names=$(printf '" + evil + "')", "netwatch status", "netwatch status --json",
		"netwatch history", "netwatch history --json", "netwatch doctor", "netwatch doctor --json", "netwatch init --dry-run --force",
		"netwatch grant --dry-run", "netwatch check", "netwatch probe", "journalctl -b --no-pager -o cat -u netwatch.service",
	} {
		out := shell(t, command+" 2>&1 || true")
		if at := strings.IndexFunc(out, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }); at >= 0 {
			t.Errorf("%s prints %q", command, out[max(0, at-60):min(len(out), at+20)])
		}
		shown += min(1, strings.Count(out, "u001b"))
	}
	if shown < 5 {
		t.Errorf("%d commands show it", shown)
	}
}
