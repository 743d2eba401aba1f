//go:build lab

// Mail goes from the sandbox of the daemon to Debian's postfix, as it is installed, and
// lies in the spool of a user; and what a timer missed is made up for.

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"
)

// mailRules are rules that tell a user of what is fired.
const mailRules = `
[[rule]]
on = ["trouble"]
do = ["mail admin@localhost 'subject={host} : problème, {what}' 'body=Öh: {what}'"]

[[rule]]
on = ["usual"]
do = ["mail admin@localhost"]

[[rule]]
on = ["nobody"]
do = ["mail no.such.user@localhost"]

[[rule]]
on = ["week"]
do = ["mail admin@localhost report=7d 'body=Lundi'"]
`

// TestMail has a real mail server, and reads there what it was given.
func TestMail(t *testing.T) {
	others(t, "postfix")
	shell(t, "useradd admin; systemctl daemon-reload; systemctl start postfix; rm -f /var/mail/*")
	begin(t, strings.TrimPrefix(mailRules, "\n"))
	t.Run("told", mailIsTold)
	t.Run("strangers", mailOfStrangers)
	t.Run("refused", mailIsRefused)
	t.Run("report", mailWithReport)
	t.Run("late", mailServerComesLate)
	t.Run("down", mailServerIsDown)
}

// mailIsTold reads a mail as the daemon gave it, which went over TLS with the certificate
// that the server made for itself.
func mailIsTold(t *testing.T) {
	shell(t, "netwatch fire trouble what='café brûlé'; netwatch fire usual what=x")
	all := spooled(t, 2)
	m, body := all[0], textOf(t, all[0])
	if subject := subjectOf(t, m); subject != "matrix : problème, café brûlé" || body != "Öh: café brûlé\n" {
		t.Errorf("it says %q: %q", subject, body)
	}
	for name, want := range map[string]string{
		"From": "netwatch@matrix.example.org", "To": "admin@localhost", "Auto-Submitted": "auto-generated",
		"Return-Path": "<netwatch@matrix.example.org>", "Received": "with ESMTPS",
	} {
		if !strings.Contains(m.Header.Get(name), want) {
			t.Errorf("%s is %q, want %q", name, m.Header.Get(name), want)
		}
	}
	if text := textOf(t, all[1]); !strings.Contains(text, "event: usual\n") || !strings.Contains(text, "what: x\n") {
		t.Errorf("the usual mail says %q", text)
	}
	says(t, "netwatch history --json | grep 'mail admin'",
		`"outcome":"changed","detail":"localhost:25 took it: 2.0.0 Ok: queued as `)
	says(t, "systemctl show -p User --value netwatch.service", "netwatch")
	says(t, "netwatch doctor", "localhost:25 answers")
}

// mailOfStrangers has what somebody fires try to be a header, a recipient and another mail.
func mailOfStrangers(t *testing.T) {
	shell(t, `curl -s --unix-socket /run/netwatch/netwatch.sock http://x/v1/fire -H 'Content-Type: application/json' -d `+
		`'{"event": "trouble", "fields": {"what": "x\r\nBcc: synapse@localhost\r\n\r\n.\r\nRCPT TO:<synapse@localhost>"}}'`)
	all := spooled(t, 1)
	if m := all[0]; m.Header.Get("Bcc") != "" || !strings.Contains(subjectOf(t, m), "Bcc: synapse") {
		t.Errorf("the headers are %v", m.Header)
	}
	if shell(t, "ls /var/mail") != "" {
		t.Errorf("somebody else has mail: %s", shell(t, "ls /var/mail"))
	}
}

// mailIsRefused says at once what the server says.
func mailIsRefused(t *testing.T) {
	shell(t, "netwatch fire nobody")
	e := noticeOf(t, "nobody", "failed")
	if !strings.Contains(e.Error, "refused it for no.such.user@localhost: 550 5.1.1") || e.Seconds > 3 || e.Hint == "" {
		t.Errorf("%+v", e)
	}
}

// mailWithReport has what happened go along as text and as a page.
func mailWithReport(t *testing.T) {
	shell(t, "netwatch fire week")
	m := spooled(t, 1)[0]
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	must(t, err)
	parts := multipart.NewReader(m.Body, params["boundary"])
	text, err := parts.NextPart()
	must(t, err)
	words, err := io.ReadAll(text)
	must(t, err)
	page, err := parts.NextPart()
	must(t, err)
	html, err := io.ReadAll(page)
	must(t, err)
	said := "Lundi\n\nnetwatch report: matrix\n"
	if kind != "multipart/mixed" || !strings.HasPrefix(string(words), said) ||
		!strings.Contains(string(words), "\nIN SHORT\n") ||
		page.FileName() != "report.html" || !strings.Contains(string(html), "</html>") {
		t.Errorf("%s: %q, then %q: %q", kind, words, page.FileName(), html)
	}
}

// mailServerComesLate wants a mail to wait for a mail server that is just being started.
func mailServerComesLate(t *testing.T) {
	shell(t, "systemctl stop postfix; netwatch fire trouble what=late; sleep 2; systemctl start postfix")
	spooled(t, 1)
}

// mailServerIsDown wants it to be said that there is none, and what to do.
func mailServerIsDown(t *testing.T) {
	shell(t, "systemctl stop postfix; netwatch fire trouble what=down")
	e := noticeOf(t, "trouble", "failed")
	if !strings.Contains(e.Error, "asking localhost:25: ") || !strings.Contains(e.Error, "connection refused") ||
		e.Seconds < 6 || !strings.HasPrefix(e.Hint, "apt install postfix") {
		t.Errorf("%+v", e)
	}
	says(t, "netwatch doctor", "asking localhost:25: ", "apt install postfix")
}

// A noticeEntry is what these tests want of the history of a notice.
type noticeEntry struct {
	Rule, Outcome, Error, Hint string
	Seconds                    float64
}

// noticeOf waits for a notice of a rule that ended so.
func noticeOf(t *testing.T, rule, outcome string) (e noticeEntry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		log, err := server.Exec(ctx, "sh", "-c", `netwatch history --json | grep '"step":"mail '`)
		if err != nil {
			return err
		}
		for line := range strings.Lines(log) {
			if err := json.Unmarshal([]byte(line), &e); err == nil && e.Rule == rule && e.Outcome == outcome {
				return nil
			}
		}
		return fmt.Errorf("no mail of %s is %s:\n%s", rule, outcome, log)
	}))
	return e
}

// spooled waits until the administrator has so many mails, and takes them.
func spooled(t *testing.T, number int) (all []*mail.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		box, err := server.Exec(ctx, "cat", "/var/mail/admin")
		if n := strings.Count("\n\n"+box, "\n\nFrom "); err != nil || n != number {
			return fmt.Errorf("there are %d mails: %w", n, err)
		}
		all = nil
		for _, text := range strings.Split("\n\n"+box, "\n\nFrom ")[1:] {
			_, text, _ = strings.Cut(text, "\n") // The line of the box
			m, err := mail.ReadMessage(strings.NewReader(text + "\n"))
			if err != nil {
				return err
			}
			all = append(all, m)
		}
		return nil
	}))
	shell(t, "rm /var/mail/admin")
	return all
}

// subjectOf is the subject as a reader shows it.
func subjectOf(t *testing.T, m *mail.Message) string {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	must(t, err)
	return subject
}

// textOf is the text of a mail that has nothing else.
func textOf(t *testing.T, m *mail.Message) string {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	must(t, err)
	return string(text)
}
