package actions

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// A postOffice is no mail server: it takes down what is said to it, and gives the answers
// that it was told to give.
type postOffice struct {
	net.Listener
	// answers are what it says instead of yes, by the beginning of a command; of several
	// the next each time, and the last again and again. EHLO's are its extensions.
	mu      sync.Mutex
	answers map[string][]string
	// talks are the commands of each connection, and mails the texts that it took.
	talks [][]string
	mails []string
	tls   *tls.Config
}

// openOffice has a server listen until the test ends.
func openOffice(t *testing.T, answers map[string][]string) *postOffice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := httptest.NewUnstartedServer(nil)
	own.StartTLS() // For its certificate alone, which nobody knows
	own.Close()
	p := &postOffice{Listener: l, answers: answers, tls: own.TLS}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return p
}

// answer is what it says to a command.
func (p *postOffice) answer(command, yes string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.answers[command]
	if len(all) == 0 {
		return yes
	}
	if len(all) > 1 {
		p.answers[command] = all[1:]
	}
	return all[0]
}

// note takes down a command, of a new connection or of the last one.
func (p *postOffice) note(command string, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first {
		p.talks = append(p.talks, nil)
	}
	last := len(p.talks) - 1
	p.talks[last] = append(p.talks[last], command)
}

// serve has one talk.
func (p *postOffice) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say(p.answer("greeting", "220 here"))
	for first := true; ; first = false {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		p.note(line, first)
		verb, _, _ := strings.Cut(line, " ")
		switch said := p.answer(verb, usualAnswers[verb]); {
		case verb == "DATA" && strings.HasPrefix(said, "354"):
			say(said)
			p.take(lines)
			say(p.answer("mail", "250 2.0.0 Ok: queued as 4C1B"))
		case verb == "STARTTLS" && strings.HasPrefix(said, "220"):
			say(said)
			conn = tls.Server(conn, p.tls)
			lines = bufio.NewReader(conn)
		case said == "":
			return
		default:
			say(said)
		}
	}
}

// usualAnswers are those of a server that takes everything.
var usualAnswers = map[string]string{
	"EHLO": "250-here\r\n250-SMTPUTF8\r\n250 8BITMIME", "STARTTLS": "220 go on",
	"MAIL": "250 yes", "RCPT": "250 yes", "DATA": "354 go on", "QUIT": "221 bye",
}

// take reads a mail up to the dot.
func (p *postOffice) take(lines *bufio.Reader) {
	var text strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, text.String())
}

// got is what it has heard and taken.
func (p *postOffice) got() (talks [][]string, mails []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.talks), slices.Clone(p.mails)
}

// mailStep makes the step of a line's words, which asks a server.
func mailStep(t testing.TB, server string, words ...string) *mailAction {
	t.Helper()
	s, err := newMail(Env{SMTP: server, Config: "/netwatch.toml"}, "mail", words)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Notice || s.Gate || s.Gated == slices.Contains(words, "always") {
		t.Errorf("%+v is no notice", s)
	}
	a := s.Action.(*mailAction)
	a.pauses = []time.Duration{0, 0}
	return a
}

// A received mail is what a reader shows of it.
type received struct{ Subject, Body, Page string }

// readMail reads a mail as a program for that does, and wants every header once and no
// other.
func readMail(t testing.TB, text string) (r received) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var names []string
	for name, values := range m.Header {
		names = append(names, name)
		if len(values) != 1 {
			t.Errorf("%s is there with %q", name, values)
		}
	}
	slices.Sort(names)
	want := []string{
		"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id",
		"Mime-Version", "Subject", "To",
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if kind == "multipart/mixed" {
		want = slices.Delete(want, 1, 2)
	}
	if diff := cmp.Diff(want, names); diff != "" || err != nil {
		t.Errorf("headers wanted (-) and there (+): %v\n%s", err, diff)
	}
	if r.Subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Error(err)
	}
	foreign := func(c rune) bool { return c > 0x7e }
	for line := range strings.Lines(text) {
		if len(line) > 998+2 || !strings.HasSuffix(line, "\r\n") || strings.ContainsFunc(line, foreign) {
			t.Errorf("the line is not for every server: %q", line)
		}
	}
	r.parts(t, m.Body, kind, params["boundary"])
	return r
}

// parts reads the body, and the page beside it if there is one.
func (r *received) parts(t testing.TB, body io.Reader, kind, boundary string) {
	t.Helper()
	if kind != "multipart/mixed" {
		r.Body = unquoted(t, body)
		return
	}
	parts := multipart.NewReader(body, boundary)
	text, err := parts.NextPart() // It takes the quoting away
	if err != nil {
		t.Fatal(err)
	}
	r.Body = strings.ReplaceAll(all(t, text), "\r\n", "\n")
	file, err := parts.NextPart()
	if err != nil || file.FileName() != "report.html" {
		t.Fatalf("%v, and the file is %v", err, file)
	}
	r.Page = strings.ReplaceAll(all(t, file), "\r\n", "\n")
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("there is more: %v", err)
	}
}

// unquoted is a text that was quoted-printable, with line feeds alone.
func unquoted(t testing.TB, r io.Reader) string {
	t.Helper()
	return strings.ReplaceAll(all(t, quotedprintable.NewReader(r)), "\r\n", "\n")
}

func all(t testing.TB, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// script is a program of a line of shell.
func script(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestMailSends gives mails to a server, and reads them there.
func TestMailSends(t *testing.T) {
	for name, c := range map[string]struct {
		words []string
		want  received
	}{
		"plain": {
			[]string{"subject={event}: {outcome}", "body=now {new},\nwas {old}"},
			received{Subject: "ip-changed: failed", Body: "now ä /?&+%,\nwas a\"b\nc\n"},
		},
		"foreign": {
			[]string{
				"subject=à la une : {new} " + strings.Repeat("é", 150),
				"body=.\n..\nFrom me\n" + strings.Repeat("ü", 2000),
			},
			received{
				Subject: "à la une : ä /?&+% " + strings.Repeat("é", 150),
				Body:    ".\n..\nFrom me\n" + strings.Repeat("ü", 2000) + "\n",
			},
		},
		"files": {
			[]string{"subject=@" + secretFile(t, "{rule}\r\nBcc: x@example.org\n"), "body=@" + secretFile(t, "{id}\n\n")},
			received{Subject: "r  Bcc: x@example.org", Body: "abc\n"},
		},
		"usual": {
			nil,
			received{Subject: hostname(t) + ": r failed", Body: "rule: r\noutcome: failed\nstep: restart x\n" +
				"error: it said \"no\" \\\nevent: ip-changed\nhost: " + hostname(t) +
				"\nid: abc\nipv4: 203.0.113.7\nnew: ä /?&+%\nold: a\"b\n  c\nsource: stun\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := openOffice(t, nil)
			r := mailStep(t, p.Addr().String(), append([]string{"root@localhost"}, c.words...)...).Do(t.Context(), endedJob)
			if r.Outcome != netwatch.Changed || r.Detail != p.Addr().String()+" took it: 2.0.0 Ok: queued as 4C1B" {
				t.Errorf("%+v", r)
			}
			talks, mails := p.got()
			full := fullName(t.Context())
			want := []string{"EHLO " + full, "MAIL FROM:<netwatch@" + full + ">", "RCPT TO:<root@localhost>", "DATA", "QUIT"}
			if diff := cmp.Diff([][]string{want}, talks); diff != "" {
				t.Errorf("wanted (-) and said (+):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, readMail(t, mails[0])); diff != "" {
				t.Errorf("wanted (-) and got (+):\n%s", diff)
			}
		})
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMailTries holds that what another try may help is tried again, with the very same
// mail, and nothing else.
func TestMailTries(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string][]string
		outcome netwatch.Outcome
		tries   int
		words   []string
	}{
		"full": {
			map[string][]string{"RCPT": {"451 4.3.0 later", "452 4.2.2 later", "250 yes"}},
			netwatch.Changed, 3,
			[]string{"took it"},
		},
		"busy": {
			map[string][]string{"greeting": {"421 4.7.0 busy", "220 here"}},
			netwatch.Changed, 1,
			[]string{"took it"},
		},
		"grey": {map[string][]string{"mail": {"451 4.7.1 later", "250 ok"}}, netwatch.Changed, 2, []string{"took it"}},
		"for long": {
			map[string][]string{"RCPT": {"450 4.2.0 greylisted"}},
			netwatch.Failed, 3,
			[]string{"refused it for me@example.org: 450 4.2.0 greylisted"},
		},
		"unknown": {
			map[string][]string{"RCPT": {"550-5.1.1 no\r\n550 5.1.1 such \x1b[31muser"}},
			netwatch.Failed, 1,
			[]string{
				"sending a notice: ", " refused it for me@example.org: 550 5.1.1 no 5.1.1 such  [31muser",
				"whether the address is right",
			},
		},
		"spam":     {map[string][]string{"mail": {"554 5.7.1 spam"}}, netwatch.Failed, 1, []string{"554 5.7.1 spam"}},
		"hangs up": {map[string][]string{"MAIL": {""}}, netwatch.Failed, 3, []string{"EOF"}},
		"no SMTP":  {map[string][]string{"greeting": {"SSH 2.0"}}, netwatch.Failed, 0, []string{"asking 127.0.0.1:"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := openOffice(t, c.answers)
			r := mailStep(t, p.Addr().String(), "me@example.org").Do(t.Context(), endedJob)
			text := fmt.Sprint(r.Detail, r.Err, netwatch.Hint(r.Err))
			talks, mails := p.got()
			if r.Outcome != c.outcome || len(talks) != c.tries {
				t.Errorf("%+v after %d tries", r, len(talks))
			}
			for _, word := range c.words {
				if !strings.Contains(text, word) {
					t.Errorf("%q is not in %q", word, text)
				}
			}
			if len(slices.Compact(mails)) > 1 {
				t.Errorf("each try has another mail: %q", mails)
			}
		})
	}
}

// TestMailTLS goes on under TLS with a certificate that nobody knows, where the server
// wants that, and without where it then refuses.
func TestMailTLS(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		ehlos  int
	}{"takes it": {"220 go on", 2}, "refuses it": {"454 4.7.0 not now", 1}} {
		t.Run(name, func(t *testing.T) {
			p := openOffice(t, map[string][]string{
				"EHLO": {"250-here\r\n250 STARTTLS", "250 here"}, "STARTTLS": {c.answer},
			})
			r := mailStep(t, p.Addr().String(), "me@example.org").Do(t.Context(), endedJob)
			talks, mails := p.got()
			if r.Outcome != netwatch.Changed || len(mails) != 1 || len(talks) != 1 {
				t.Fatalf("%+v: %q", r, talks)
			}
			ehlos := slices.DeleteFunc(talks[0], func(s string) bool { return !strings.HasPrefix(s, "EHLO") })
			if len(ehlos) != c.ehlos {
				t.Errorf("it said %q", talks[0])
			}
		})
	}
}

// TestMailReachesNobody says what is missing, and waits for nobody for long.
func TestMailReachesNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantResult(t, mailStep(t, "nowhere.invalid:25", "a@example.org").Do(t.Context(), endedJob), netwatch.Failed,
		"nowhere.invalid", "by smtp in [daemon]")
	silent := mailStep(t, l.Addr().String(), "a@example.org").Do(ctx, endedJob)
	wantFailure(t, silent, "no answer within 10s")
	_ = l.Close()
	wantResult(t, mailStep(t, l.Addr().String(), "a@example.org").Do(t.Context(), endedJob), netwatch.Failed,
		"connection refused", "apt install postfix")
}

// TestMailEndlessAnswer reads only so much of a server that says more and more.
func TestMailEndlessAnswer(t *testing.T) {
	p := openOffice(t, map[string][]string{"greeting": {"220-" + strings.Repeat("x", 2*mailAnswers)}})
	wantFailure(t, mailStep(t, p.Addr().String(), "a@example.org").Do(t.Context(), endedJob), "EOF")
}

// TestMailLongAnswer tells the beginning of what a server says, also where that is no SMTP.
func TestMailLongAnswer(t *testing.T) {
	long := strings.Repeat("x", mailAnswers/2)
	for _, greeting := range []string{long + "\x1b", "22 " + long, "554 " + long, "554-\n554 " + long} {
		p := openOffice(t, map[string][]string{"greeting": {greeting}})
		r := mailStep(t, p.Addr().String(), "a@example.org").Do(t.Context(), endedJob)
		asked := AskMail(t.Context(), p.Addr().String())
		for _, err := range []error{r.Err, asked} {
			if err == nil || len(err.Error()) > 2*mostSaid || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%.20q: %.400s", greeting, fmt.Sprint(err))
			}
		}
	}
}

// TestMailReport has a report go along, whose program is a script here.
func TestMailReport(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		body   string
		want   received
		detail string
	}{
		"whole": {
			`case "$*" in "--config /netwatch.toml report --since 7d") echo "Été: all well";;
				"--config /netwatch.toml report --since 7d -o -") printf '<p>Été</p>\n';; *) exit 9;; esac`,
			"",
			received{Subject: hostname(t) + ": report of netwatch", Body: "Été: all well\n", Page: "<p>Été</p>\n"},
			"queued as 4C1B",
		},
		"with a body": {
			`echo "x$7"`, "body=Monday again",
			received{Subject: hostname(t) + ": report of netwatch", Body: "Monday again\n\nx\n", Page: "x-\n"},
			"queued as 4C1B",
		},
		"none": {
			`echo "netwatch: reading the history: permission denied" >&2; exit 3`, "",
			received{
				Subject: hostname(t) + ": report of netwatch",
				Body: "The report could not be made whole: making it: netwatch report: exit status 3: " +
					"netwatch: reading the history: permission denied\n",
			},
			"; without the report: making it: netwatch report: exit status 3",
		},
		"half": {
			`[ $# = 5 ] && echo text`, "",
			received{
				Subject: hostname(t) + ": report of netwatch",
				Body:    "text\n\nThe report could not be made whole: making it: netwatch report: exit status 1: \n",
			},
			"; without the report: ",
		},
		"too large": {
			`[ $# = 5 ] && echo text || exec cat /dev/zero`, "",
			received{
				Subject: hostname(t) + ": report of netwatch",
				Body:    "text\n\nThe report could not be made whole: making it: it is larger than 4 MiB\n",
			},
			"; without the report: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := openOffice(t, nil)
			words := []string{"a@example.org", "report=7d"}
			if c.body != "" {
				words = append(words, c.body)
			}
			a := mailStep(t, p.Addr().String(), words...)
			a.program[0] = script(t, c.script)
			r := a.Do(t.Context(), endedJob)
			if r.Outcome != netwatch.Changed || !strings.Contains(r.Detail, c.detail) ||
				strings.Contains(r.Detail, "without") != strings.Contains(c.detail, "without") {
				t.Fatalf("%+v", r)
			}
			_, mails := p.got()
			if diff := cmp.Diff(c.want, readMail(t, mails[0])); diff != "" {
				t.Errorf("wanted (-) and got (+):\n%s", diff)
			}
		})
	}
}

// TestNewMail says what is wrong with the words of a step.
func TestNewMail(t *testing.T) {
	for line, want := range map[string]string{
		"":                                "without an address: mail ADDRESS",
		"root":                            `"root" is not one address`,
		"a@example.org,b@example.org":     "is not one address",
		"<a@example.org>":                 "is not one address",
		"{new}@example.org":               "is not one address",
		"a@{new}":                         "is not one address",
		"a@":                              "is not one address",
		"a@example.org.":                  "is not one address",
		"a@127.0.0.1":                     "is not one address",
		"a@example.org now":               `"now" is not understood after the address: mail ADDRESS`,
		"a@example.org subject={x}":       "{x} stands for nothing",
		"a@example.org body={x}":          "{x} stands for nothing",
		"a@example.org body=@x":           `"x" is a relative path`,
		"a@example.org body=1 body=2":     `"body" is one option too many`,
		"a@example.org report=":           "does not say since when",
		"a@example.org report=--since":    "does not say since when",
		"a@example.org report=2026-02-30": "does not say since when",
		"a@example.org always always":     `"always" is one option too many`,
	} {
		if _, err := newMail(Env{}, "mail", strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mail %s: %v, want %q", line, err, want)
		}
	}
	for _, since := range []string{
		"7d", "12h", "1h30m", "today", "yesterday", "2026-11-30", "2026-11-30 07:00", "2026-11-30T07:00:00Z",
	} {
		mailStep(t, "", "a@example.org", "report="+since, "always")
	}
	needs := mailStep(t, "", "a@example.org", "subject=@/s", "body=@/b").Needs()
	want := Needs{Secrets: []netwatch.Path{"/s", "/b"}, Mail: []string{""}, Mailboxes: []string{"a@example.org"}}
	if diff := cmp.Diff(want, needs); diff != "" {
		t.Error(diff)
	}
	nowhere := mailStep(t, "", "a@example.org", "body=@/nonexistent")
	wantFailure(t, nowhere.Do(t.Context(), endedJob), "the body: reading /nonexistent")
}

// FuzzMail has strangers write every value of a run: there is no header, no recipient and
// no end of the mail by them, and the subject is one line.
func FuzzMail(f *testing.F) {
	for _, text := range []string{
		"x\r\nBcc: me@example.org", "\n\n.\r\nMAIL FROM:<x>", "=?utf-8?q?a=0ABcc:_x?=", "\u2028\u202e", "\xff\x00", ".",
		strings.Repeat("é", 3000), strings.Repeat("a", 3000), "{new}{old}", "--boundary", "\r", "From x",
	} {
		f.Add(text, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		fields := map[string]string{"old": one, "new": two, one: two}
		job := netwatch.Job{
			Event:     netwatch.Event{Name: one, Source: two, ID: one, Fields: fields},
			Ended:     netwatch.Entry{Rule: one, Error: two, Step: one, Outcome: netwatch.Failed},
			Confirmed: netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7")}},
		}
		for _, words := range [][]string{nil, {"subject={old} {new} {error}", "body={old}\n{new}"}} {
			a := mailStep(t, "", append([]string{"root@localhost"}, words...)...)
			l := letter{host: "matrix.example.org", to: a.to, date: time.Now(), page: two}
			if err := a.write(&l, job); err != nil {
				t.Fatal(err)
			}
			text, err := l.text()
			if err != nil {
				t.Fatal(err)
			}
			r := readMail(t, string(text))
			if netwatch.Printable(r.Subject) != r.Subject || len([]rune(r.Subject)) > mostSubject {
				t.Errorf("the subject is %q", r.Subject)
			}
			if got := string(netwatch.Harmless([]byte(r.Body), "\n")); got != r.Body {
				t.Errorf("the body is %q", r.Body)
			}
		}
	})
}
