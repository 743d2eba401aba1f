package actions

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"syscall"

	"netwatch"
)

// mailAnswers is how many bytes a mail server may say in all.
const mailAnswers = 256 << 10

// send gives the mail to the server once. again says that another try may help.
func (a *mailAction) send(ctx context.Context, l letter, text []byte) (said string, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	conn, err := a.dial(ctx, a.server)
	if err != nil {
		return "", true, err
	}
	defer conn.Close()
	said, err = l.over(conn, text)
	refused := new(textproto.Error)
	switch {
	case err == nil:
		return a.server + " took it: " + clipped(said), false, nil
	case !errors.As(err, &refused):
		return "", true, fmt.Errorf("asking %s: %w", a.server, noAnswer(ctx, err))
	}
	err = fmt.Errorf("%s refused it for %s: %d %s", a.server, a.to, refused.Code, clipped(refused.Msg))
	return "", refused.Code < 500, netwatch.WithHint(err,
		"see whether the address is right, and what the mail server logs (journalctl -t postfix/smtpd)")
}

// dialMail connects to a mail server. The connection is closed when ctx is done.
func dialMail(ctx context.Context, server string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("asking %s: %w", server, noAnswer(ctx, err)), serverHint(err))
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return bounded{conn, io.LimitReader(conn, mailAnswers)}, nil
}

// AskMail looks whether a mail server is there, and gives it nothing. It returns what is
// wrong, with the remedy.
func AskMail(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	conn, err := dialMail(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := smtp.NewClient(conn, "")
	if err == nil {
		err = c.Quit()
	}
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("asking %s: %w", server, noAnswer(ctx, err)), serverHint(err))
	}
	return nil
}

// A bounded connection reads only so much.
type bounded struct {
	net.Conn
	from io.Reader
}

// Read reads what is left of that.
func (b bounded) Read(p []byte) (int, error) { return b.from.Read(p) }

// over has a talk with a server (RFC 5321), and returns what that said at the end.
func (l letter) over(conn net.Conn, text []byte) (said string, err error) {
	c, err := smtp.NewClient(conn, "")
	if err == nil {
		err = c.Hello(l.host)
	}
	if err == nil {
		err = encrypt(c)
	}
	for _, line := range []struct {
		code int
		text string
	}{{250, "MAIL FROM:<" + l.from() + ">"}, {25, "RCPT TO:<" + l.to + ">"}, {354, "DATA"}} {
		if err == nil {
			_, err = command(c, line.code, line.text)
		}
	}
	if err != nil {
		return "", err
	}
	w := c.Text.DotWriter()
	if _, err = w.Write(text); err == nil {
		err = w.Close()
	}
	if err == nil {
		_, said, err = c.Text.ReadResponse(250)
	}
	if err == nil {
		_ = c.Quit() // It has the mail, whatever it says now
	}
	return said, err
}

// command says one line, and wants an answer whose code begins with that. What smtp.Client
// says by itself would ask for SMTPUTF8, which a server further on may not have, though
// nothing in the mail needs it.
func command(c *smtp.Client, code int, line string) (said string, err error) {
	id, err := c.Text.Cmd("%s", line)
	if err != nil {
		return "", err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, said, err = c.Text.ReadResponse(code)
	return said, err
}

// encrypt goes on under TLS if the server offers that and then does not refuse it. Nobody
// is asked for a certificate that others signed, as between mail servers: the local one
// has made its own, and who stood between could as well not offer it.
func encrypt(c *smtp.Client) error {
	if offered, _ := c.Extension("STARTTLS"); !offered {
		return nil
	}
	err := c.StartTLS(&tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, //nolint:gosec // Better than plain; see above.
	})
	if refused := new(textproto.Error); errors.As(err, &refused) {
		return nil
	}
	return err
}

// noAnswer says why the server was not reached, or the beginning of what it said that is no
// answer.
func noAnswer(ctx context.Context, err error) error {
	op := new(net.OpError)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", mailTime)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &op):
		return op.Err
	case errors.As(err, new(textproto.ProtocolError)), errors.As(err, new(*textproto.Error)):
		return errors.New(clipped(err.Error()))
	}
	return err
}

// serverHint is the remedy where no server was reached.
func serverHint(err error) string {
	const other = "name the mail server by smtp in [daemon], as in smtp = \"mail.example.org:25\""
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "apt install postfix, or see why it does not run (systemctl status postfix); or " + other
	}
	return other
}

// mostSaid is how many characters of an answer are told.
const mostSaid = 300

// clipped is the beginning of what a server said, in one line.
func clipped(said string) string {
	said = strings.ToValidUTF8(strings.Map(visible, said), "?")
	return strings.ToValidUTF8(said[:min(len(said), mostSaid)], "")
}
