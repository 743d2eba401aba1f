package simulate

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// noticeStep is the step with which the rule tells of its runs.
const noticeStep = "http POST http://notices.example.org/{rule}/{outcome}"

// mailStep is the one that writes to a person.
const mailStep = "mail admin@example.org"

// notified is how those behave who are told of runs.
func (w *World) notified(n uint64) {
	all := []string{"take it", "take it", "refuse", "have an error", "are silent", "are slow"}
	w.notices = all[n%uint64(len(all))]
	w.tell("those who are told of runs %s", w.notices)
}

// reach is on the way to one of them.
func (l *life) reach(ctx context.Context, name string) (how string, err error) {
	pass(l.lag(name+" begins", time.Millisecond, 5*time.Millisecond))
	l.mu.Lock()
	how, err = l.notices, l.effect("a notice by "+name)
	lag := l.spanOf(name, time.Millisecond, 90*time.Millisecond)
	if how != "take it" {
		l.story.fault("a notice: those who are told " + how)
	}
	l.mu.Unlock()
	switch {
	case err != nil:
		return "", err
	case how == "are silent":
		lag = time.Hour
	case how == "are slow":
		lag += 7 * time.Second
	}
	select {
	case <-time.After(lag):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if how == "refuse" {
		return "", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	}
	return how, nil
}

// A web is the way to the servers of HTTP.
type web struct{ *life }

// RoundTrip sends one request.
func (v web) RoundTrip(r *http.Request) (*http.Response, error) {
	how, err := v.reach(r.Context(), "http")
	if err != nil {
		return nil, err
	}
	code := http.StatusOK
	if how == "have an error" {
		code = http.StatusServiceUnavailable
	}
	return &http.Response{StatusCode: code, Body: http.NoBody, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// mail connects to the mail server.
func (l *life) mail(ctx context.Context, _ string) (net.Conn, error) {
	how, err := l.reach(ctx, "mail")
	if err != nil {
		return nil, err
	}
	ours, theirs := newWires(nil, nil)
	context.AfterFunc(ctx, func() { _ = ours.Close() })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beside(func() { takeMail(theirs, how == "have an error") })
	return ours, nil
}

// takeMail is a mail server, which refuses the mail for now if it fails.
func takeMail(conn net.Conn, fails bool) {
	c := textproto.NewConn(conn)
	defer c.Close()
	if c.PrintfLine("220 mail.example.org") != nil {
		return
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		answer := "250 well"
		switch word, _, _ := strings.Cut(line, " "); {
		case word == "RCPT" && fails:
			answer = "451 later"
		case word == "QUIT":
			answer = "221 bye"
		case word == "DATA":
			if c.PrintfLine("354 go on") != nil {
				return
			}
			if _, err := c.ReadDotBytes(); err != nil {
				return
			}
		}
		if c.PrintfLine("%s", answer) != nil {
			return
		}
	}
}

// noticeTime is within what time somebody is told of a run, or it is given up: sixteen may
// wait, and each may take the time of all its tries.
const noticeTime = 20 * time.Minute

// owes notes that a run has changed something, of which notices are to tell. w.mu is held.
func (l *life) owes(rule, id, outcome string) {
	if l.inForce.notices && rule == "turn" && outcome == string(netwatch.Changed) {
		l.untold[id] = l.now()
	}
}

// noticed notes that a notice was sent, or given up. w.mu is held.
func (l *life) noticed(id, outcome string) {
	if _, is := l.untold[id]; is && outcome == string(netwatch.Skipped) {
		l.broken("a run changed something, and its notice is skipped")
	}
	delete(l.untold, id)
}

// silence is a run that nobody was told of, or nothing. w.mu is held.
func (l *life) silence() string {
	for _, at := range l.untold {
		if l.now()-at > noticeTime {
			return fmt.Sprintf("a run changed something at %s, and no notice tells of it", at)
		}
	}
	return ""
}
