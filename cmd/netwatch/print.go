package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// printJSON prints one object on one line.
func (c *command) printJSON(v any) error {
	return json.NewEncoder(c.stdout).Encode(v)
}

// brief is e without the words that the step's own entry has said before.
func brief(e netwatch.Entry) netwatch.Entry {
	if e.Kind == netwatch.EntryRun && e.Step != "" {
		e.Error, e.Hint, e.Detail = "", "", ""
	}
	return e
}

// printEntry prints one line of history, as JSON or for a person.
func (c *command) printEntry(e netwatch.Entry) error {
	if c.json {
		return c.printJSON(e)
	}
	_, err := io.WriteString(c.stdout, c.entryText(brief(e)))
	return err
}

// entryText is an entry for a person: one line, and one more for a remedy.
func (c *command) entryText(e netwatch.Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-10s  ", e.Time.Local().Format("2006-01-02 15:04:05.000"), e.ID)
	switch e.Kind {
	case netwatch.EntryEvent:
		fmt.Fprintf(&b, "%s from %s%s", e.Event, e.Source, fieldsText(e.Fields))
		if e.Detail != "" {
			fmt.Fprintf(&b, " (%s)", e.Detail)
		}
	case netwatch.EntryNote:
		if e.Error == "" {
			b.WriteString("note: " + strings.TrimPrefix(e.Rule+": "+e.Detail, ": "))
			break
		}
		b.WriteString(c.paint(netwatch.Failed, "note: "+strings.ReplaceAll(e.Error, "\n", "\n    ")))
	default:
		fmt.Fprintf(&b, "%s: %s", e.Rule, c.outcomeText(e))
	}
	b.WriteByte('\n')
	if e.Hint != "" {
		fmt.Fprintf(&b, "%s  %-10s  hint: %s\n", strings.Repeat(" ", 23), "", e.Hint)
	}
	return b.String()
}

// outcomeText is how a step or a run ended.
func (c *command) outcomeText(e netwatch.Entry) string {
	what := e.Step
	if e.Kind == netwatch.EntryRun {
		what = "run"
	}
	outcome := string(e.Outcome)
	if e.Kind == netwatch.EntryRun && e.Outcome == netwatch.Failed && e.Retry == nil {
		outcome = "failed for good"
	}
	text := what + ": " + c.paint(e.Outcome, outcome)
	for _, more := range []string{e.Detail, e.Error} {
		if more != "" {
			text += ": " + more
		}
	}
	text += fmt.Sprintf(" (%.3f s)", e.Seconds)
	if e.Retry != nil {
		text += ", again at " + e.Retry.Local().Format("15:04:05")
	}
	if e.Kind == netwatch.EntryRun && len(e.IDs) > 1 {
		text += ", for " + strings.Join(e.IDs, " ")
	}
	return text
}

func fieldsText(fields map[string]string) string {
	var text string
	for _, key := range sortedKeys(fields) {
		if fields[key] != "" {
			text += " " + plain(key) + "=" + plain(fields[key])
		}
	}
	return text
}

// plain is what somebody else chose as a person may read it: what could command
// a terminal, or pass for another line, is escaped.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// paint colours a text by an outcome, on a terminal only.
func (c *command) paint(o netwatch.Outcome, text string) string {
	colours := map[netwatch.Outcome]string{netwatch.Changed: "32", netwatch.Failed: "31", netwatch.Held: "33"}
	colour, ok := colours[o]
	if !ok || !isTerminal(c.stdout.Writer) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// ago is how long ago t was, for a person.
func ago(t time.Time) string {
	return time.Since(t).Round(time.Second).String() + " ago"
}
