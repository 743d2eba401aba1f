package actions

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// A letter is one mail.
type letter struct {
	// host is the full name of the machine that it comes from.
	host string
	to   string
	date time.Time
	// subject is one line, and body plain text.
	subject, body string
	// page is a page of HTML that goes along, or empty.
	page string
}

// from is whom it comes from.
func (l letter) from() string { return "netwatch@" + l.host }

// mostSubject is how many characters a subject has at most.
const mostSubject = 200

// The texts of a mail for which the step has none.
const (
	usualSubject  = "{host}: {rule} {outcome}"
	reportSubject = "{host}: report of netwatch"
)

// write gives a letter, which may have a report in it, its subject and its body.
func (a *mailAction) write(l *letter, job netwatch.Job) (err error) {
	values := placeholders(job)
	subject, body := &part{text: usualSubject}, everything(values)
	if a.since != "" {
		subject, body = &part{text: reportSubject}, ""
	}
	if a.subject != nil {
		subject = a.subject
	}
	if l.subject, err = a.filled(subject, values, inSubject); err != nil {
		return fmt.Errorf("the subject: %w", err)
	}
	l.subject = oneLine(l.subject)
	if a.body != nil {
		if body, err = a.filled(a.body, values, inBody); err != nil {
			return fmt.Errorf("the body: %w", err)
		}
	}
	l.body = strings.Trim(body+"\n\n"+strings.Trim(l.body, "\n"), "\n") + "\n"
	return nil
}

// filled is the text of a part with its values.
func (a *mailAction) filled(p *part, values map[string]string, escape func(string) string) (string, error) {
	text, err := p.read()
	if err != nil {
		return "", err
	}
	text, err = a.fill(text, values, escape)
	return strings.ToValidUTF8(text, "?"), err
}

// everything is a body that tells all that is known of a run, each value on a line.
func everything(values map[string]string) string {
	names := []string{"rule", "outcome", "step", "error", "event"}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var b strings.Builder
	for _, name := range names {
		if values[name] != "" {
			value := strings.ReplaceAll(inBody(values[name]), "\n", "\n  ")
			fmt.Fprintf(&b, "%s: %s\n", netwatch.Printable(name), value)
		}
	}
	return b.String()
}

// inBody escapes what a reader of mail on a terminal would take for a command.
func inBody(value string) string { return string(netwatch.Harmless([]byte(value), "\n")) }

// inSubject does so for a text in one line.
func inSubject(value string) string { return netwatch.Printable(inHeader(value)) }

// oneLine makes a text one line that is not too long, and in which nothing looks like an
// encoded word (RFC 2047): a reader would show what that stands for.
func oneLine(text string) string {
	text = strings.TrimSpace(strings.ReplaceAll(strings.Map(visible, text), "=?", "= ?"))
	if short := []rune(text); len(short) > mostSubject {
		text = string(short[:mostSubject-1]) + "…"
	}
	return text
}

// text is the letter as it goes over the line (RFC 5322).
func (l letter) text() ([]byte, error) {
	var b bytes.Buffer
	// A line has at most 998 characters: encoded words stand on lines of their own.
	subject := strings.ReplaceAll(mime.QEncoding.Encode("utf-8", l.subject), "?= =?", "?=\r\n =?")
	for _, header := range [][2]string{
		{"From", l.from()},
		{"To", l.to},
		{"Subject", subject},
		{"Date", l.date.Format(time.RFC1123Z)},
		{"Message-ID", "<" + strings.ToLower(rand.Text()) + "@" + l.host + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	if l.page == "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", plainText)
		err := quote(&b, l.body)
		return b.Bytes(), err
	}
	parts := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", parts.Boundary())
	err := attach(parts, plainText, "inline", l.body)
	if err == nil {
		err = attach(parts, "text/html; charset=utf-8", "attachment; filename=report.html", l.page)
	}
	if err == nil {
		err = parts.Close()
	}
	return b.Bytes(), err
}

const plainText = "text/plain; charset=utf-8"

// attach adds a part.
func attach(parts *multipart.Writer, kind, disposition, text string) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {kind}, "Content-Disposition": {disposition}, "Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	return quote(w, text)
}

// quote writes a text as quoted-printable (RFC 2045, 6.7).
func quote(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}
