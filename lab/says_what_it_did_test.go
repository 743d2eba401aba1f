//go:build lab

// 10. It says what it did.

package lab

import (
	"strings"
	"testing"
	"time"
	"unicode"
)

// What an event led to is found in the journal by its id, each line with its
// priority.
func TestJournalFields(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h")+"\n[[rule]]\non = [\"broken\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"exec /bin/false\"]\n", FirstPublic)
	out, code := fire(t, "broken")
	if code != 1 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	id := strings.Fields(out)[1]
	lines := shell(t, "journalctl -b -o cat -u netwatch.service NETWATCH_ID="+id)
	if n := strings.Count(lines, `"id":"`+id+`"`); n < 3 {
		t.Errorf("%d lines of event, step and run:\n%s", n, lines)
	}
	if bad := shell(t, "journalctl -b -o cat -p err -u netwatch.service NETWATCH_RULE=broken NETWATCH_STEP='exec /bin/false'"); !strings.Contains(bad, `"outcome":"failed"`) {
		t.Errorf("errors:\n%s", bad)
	}
}

// noise is a rule whose event makes lines in the log, and nothing else.
const noise = `
[[rule]]
on = ["noise"]
settle = "0s"
do = ["exec /bin/true"]
`

// journalUnits are journald and what would start it.
const journalUnits = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket " +
	"systemd-journald.service"

// follows wants netwatch, the same process as before, to follow a change of the
// address in the usual time.
func follows(t *testing.T, n int) {
	t.Helper()
	before := show(t, "netwatch.service", "MainPID")
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), Public(n)))
	promised(t, Times{right(t, Public(n), Public(n), 10*time.Second).Sub(changed)}, every+settle+200*time.Millisecond)
	if now := show(t, "netwatch.service", "MainPID"); now != before {
		t.Errorf("netwatch was process %s and is %s", before, now)
	}
}

// A journald that stands still holds up nothing. What was too much for it is
// counted, and that is said.
func TestJournalStandsStill(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	// coturn itself waits for a journald that does not read its syslog.
	shell(t, "sed -i 's/^syslog$/log-file=stdout/' "+YunoHost.File+"; systemctl restart "+YunoHost.Unit)
	watching(t, configuration(YunoHost, every.String())+noise, FirstPublic)
	log := logSince(t)
	shell(t, "systemctl kill --kill-whom=main -s STOP systemd-journald.service")
	undo(t, "systemctl kill --kill-whom=main -s CONT systemd-journald.service")
	out, err := server.Exec(t.Context(), "timeout", "60", "sh", "-c",
		"for i in $(seq 1200); do netwatch fire --no-wait noise; done 2>&1 | grep -v accepted")
	if out != "" {
		t.Errorf("firing (%v): %s", err, out)
	}
	follows(t, 80)
	follows(t, 81)
	shell(t, "systemctl kill --kill-whom=main -s CONT systemd-journald.service; netwatch fire noise")
	says(t, log, `"lost":`, `"message":"the log has not taken so many lines"`)
}

// Nor does one that is gone, with its sockets or by a crash, and what comes later
// is logged.
func TestJournalGone(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, every.String())+noise, FirstPublic)
	shell(t, "systemctl stop "+journalUnits+" 2>&1")
	undo(t, "systemctl start "+journalUnits)
	follows(t, 82)
	shell(t, "systemctl start "+journalUnits)
	shell(t, "systemctl kill --kill-whom=main -s KILL systemd-journald.service")
	follows(t, 83)
	log := logSince(t)
	shell(t, "netwatch fire noise")
	says(t, log, `"event":"noise"`)
}

// Everyone may ask for the metrics, which are those of the daemon that runs.
func TestMetrics(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	out := shell(t, "runuser -u nobody -- curl -sfm 5 --unix-socket /run/netwatch/netwatch.sock http://netwatch/metrics") + "\n"
	for _, want := range []string{
		"\nnetwatch_source_failing{source=\"stun\",kind=\"stun\"} 0\n", "\nnetwatch_runs_failed{rule=\"started+ip-changed\"} 0\n",
		"\nnetwatch_address_confirmed_timestamp_seconds{family=\"ipv4\"} ", "\nnetwatch_events_total{event=\"started\",source=\"netwatch\"} 1\n",
		"\nnetwatch_steps_total{verb=\"rotate\",outcome=\"unchanged\"} 1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
}

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
