package actions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// largestReport is how many bytes a text or a page of a report may have.
const largestReport = 4 << 20

// report puts text and page of a report into a letter, if one is wanted. The error says
// why there is none, which the letter then tells.
func (a *mailAction) report(ctx context.Context, l *letter) error {
	if a.since == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	text, err := a.netwatch(ctx, "report", "--since", a.since)
	if err == nil {
		l.body = text
		l.page, err = a.netwatch(ctx, "report", "--since", a.since, "-o", "-")
	}
	if err != nil {
		err = fmt.Errorf("making it: %w", err)
		l.body += "\nThe report could not be made whole: " + inBody(err.Error()) + "\n"
	}
	return err
}

// netwatch is what another netwatch prints: whatever it takes to make a report, the
// daemon itself stays as small as it is.
func (a *mailAction) netwatch(ctx context.Context, words ...string) (string, error) {
	if len(a.program) == 0 {
		return "", errors.New("the program of netwatch is not found")
	}
	out, complaint := &page{}, &tail{}
	words = append(a.program[1:len(a.program):len(a.program)], words...)
	cmd := exec.CommandContext(ctx, a.program[0], words...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, complaint, time.Second
	err := cmd.Run()
	switch {
	case out.tooLarge:
		return "", fmt.Errorf("it is larger than %d MiB", largestReport>>20)
	case ctx.Err() != nil:
		return "", fmt.Errorf("it was not done within %s", reportTime)
	case err != nil:
		return "", fmt.Errorf("netwatch report: %w: %s", err, last(complaint.lines()))
	}
	return out.text.String(), nil
}

// A page takes as much as a report may have.
type page struct {
	text     bytes.Buffer
	tooLarge bool
}

// Write fails when there is too much.
func (p *page) Write(text []byte) (int, error) {
	if p.tooLarge = p.text.Len()+len(text) > largestReport; p.tooLarge {
		return 0, errors.New("too large")
	}
	return p.text.Write(text)
}
