package actions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"netwatch"
)

// mailUsage is what follows the verb.
const mailUsage = "ADDRESS [subject=TEXT] [body=TEXT] [report=SINCE] [always]"

// The bounds of a mail, which all together are less than a notice may take.
const (
	// mailTime is how long one try may take.
	mailTime = 10 * time.Second
	// reportTime is how long the report for it may take.
	reportTime = 15 * time.Second
	// nameTime is how long may be looked for the full name of this machine.
	nameTime = 2 * time.Second
)

// A mailAction tells somebody of a run by mail. It is the step `mail ADDRESS ...`.
type mailAction struct {
	// to is the one address that it goes to.
	to string
	// subject and body are nil for those of every mail.
	subject, body *part
	// since is from when on a report is added, or empty.
	since string
	filler
	// server is the mail server, and dial connects to it.
	server string
	dial   func(ctx context.Context, server string) (net.Conn, error)
	// host is the full name of this machine; empty is to be looked up.
	host string
	// program makes the report, with the words before its own.
	program []string
	pauses  []time.Duration
}

// newMail makes the step. It is a notice, as http is.
func newMail(env Env, verb string, words []string) (netwatch.Step, error) {
	a := &mailAction{
		filler: filler(env.AnyField), server: env.SMTP, dial: env.Mail, host: env.Host, pauses: noticePauses,
	}
	if a.dial == nil {
		a.dial = dialMail
	}
	if self, err := os.Executable(); err == nil { // Else there is no report, and the mail says so
		a.program = []string{self, "--config", env.Config}
	}
	always, err := a.parse(words)
	if errors.Is(err, errNoMail) {
		err = fmt.Errorf("%w: %s %s", err, verb, mailUsage)
	}
	return netwatch.Step{Action: a, Notice: true, Gated: !always}, err
}

// errNoMail says that the words after the verb make no step.
var errNoMail = errors.New("not understood")

// parse reads the words after the verb.
func (a *mailAction) parse(words []string) (always bool, err error) {
	if len(words) == 0 {
		return false, fmt.Errorf("%w without an address", errNoMail)
	}
	if a.to, err = parseMailbox(words[0]); err != nil {
		return false, err
	}
	for _, word := range words[1:] {
		key, value, option := strings.Cut(word, "=")
		switch {
		case option && key == "subject" && a.subject == nil:
			a.subject, err = a.text(value)
		case option && key == "body" && a.body == nil:
			a.body, err = a.text(value)
		case option && key == "report" && a.since == "":
			a.since = value
			if _, err = netwatch.When(value, time.Now()); err != nil {
				err = fmt.Errorf("report= does not say since when: %w", err)
			}
		case word == "always" && !always:
			always = true
		case option && (key == "subject" || key == "body" || key == "report"), word == "always":
			err = fmt.Errorf("%q is one option too many", key)
		default:
			err = fmt.Errorf("%q is %w after the address", key, errNoMail)
		}
		if err != nil {
			return false, err
		}
	}
	return always, nil
}

// mailboxName is what may stand before the @ (RFC 5321, 4.1.2) without quotes, less what
// begins a placeholder or a command.
var mailboxName = netwatch.Pattern("^[A-Za-z0-9!#$%&'*+/=?^_|~.-]{1,64}$")

// parseMailbox takes one address as it is. Whatever a stranger says, mail goes to it alone.
func parseMailbox(word string) (string, error) {
	name, host, ok := strings.Cut(word, "@")
	if !ok || !mailboxName().MatchString(name) || !netwatch.IsHostName(host) || strings.HasSuffix(host, ".") {
		return "", fmt.Errorf("%q is not one address without a placeholder, as in me@example.org", word)
	}
	return word, nil
}

// text reads a text with placeholders, and tries whether they stand for something. A file
// is read only when the mail is sent.
func (a *mailAction) text(word string) (*part, error) {
	p, err := parsePart(word)
	if err == nil && p.file == "" {
		_, err = a.fill(p.text, placeholders(netwatch.Job{}), inText)
	}
	return &p, err
}

// Needs are the mail server, who reads the mail, and the files that hold its texts.
func (a *mailAction) Needs() (n Needs) {
	n.Mail, n.Mailboxes = []string{a.server}, []string{a.to}
	for _, p := range []*part{a.subject, a.body} {
		if p != nil && p.file != "" {
			n.Secrets = append(n.Secrets, p.file)
		}
	}
	return n
}

// Do gives the mail to the mail server, and tries again after a pause where that may help.
// A report that cannot be made holds up nothing: the mail says why.
func (a *mailAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	l := letter{host: a.host, to: a.to, date: time.Now()}
	if l.host == "" {
		l.host = fullName(ctx)
	}
	missing := a.report(ctx, &l)
	if err := a.write(&l, job); err != nil {
		return netwatch.Failure(fmt.Errorf("writing a mail: %w", err))
	}
	text, err := l.text()
	if err != nil {
		return netwatch.Failure(fmt.Errorf("writing a mail: %w", err))
	}
	result := deliver(ctx, a.pauses, func() (string, bool, error) { return a.send(ctx, l, text) })
	if missing != nil {
		result.Detail = strings.TrimPrefix(result.Detail+"; without the report: "+missing.Error(), "; ")
	}
	return result
}

// fullName is the name of this machine with its domain, as `hostname -f` says it, or
// without where it has none.
func fullName(ctx context.Context) string {
	name, _ := os.Hostname() // Checked below
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	if !strings.Contains(name, ".") {
		full, err := net.DefaultResolver.LookupCNAME(ctx, name)
		if full = strings.TrimSuffix(full, "."); err == nil && netwatch.IsHostName(full) {
			return full
		}
	}
	if !netwatch.IsHostName(name) {
		return "localhost"
	}
	return name
}
