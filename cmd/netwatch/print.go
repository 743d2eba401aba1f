package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"netwatch"
)

// printJSON prints one object on one line.
func (c *command) printJSON(v any) error {
	return json.NewEncoder(c.stdout).Encode(v)
}

// printEntry prints one line of history, as JSON or for a person.
func (c *command) printEntry(e netwatch.Entry) error {
	if c.json {
		return c.printJSON(e)
	}
	c.entryText(e.Brief())
	return c.stdout.failed()
}

// continued is the beginning of a line that goes on with an entry.
const continued = "    "

// entryText prints an entry for a person: one line, and one more for a remedy.
func (c *command) entryText(e netwatch.Entry) {
	fmt.Fprintf(c.stdout, "%s  %-10s  ", e.Time.Local().Format("2006-01-02 15:04:05.000"), shown(e.ID))
	switch {
	case e.Kind == netwatch.EntryEvent:
		fmt.Fprintf(c.stdout, "%s from %s%s", shown(e.Event), shown(e.Source), fieldsText(e.Fields))
		if e.Detail != "" {
			fmt.Fprintf(c.stdout, " (%s)", shown(e.Detail))
		}
		if e.Noticed != "" {
			fmt.Fprint(c.stdout, ", "+shown(noticedText(e.Noticed, e.After)))
		}
	case e.Kind == netwatch.EntryOutage && e.Seconds > 0:
		fmt.Fprintf(c.stdout, "outage: servers answer again after %s%s", howLong(e.Seconds), fieldsText(e.Fields))
	case e.Kind == netwatch.EntryOutage:
		fmt.Fprint(c.stdout, "outage: no server answers"+fieldsText(e.Fields))
	case e.Kind == netwatch.EntryNote && e.Error != "":
		c.stdout.paint(netwatch.Failed, "note: "+lines(e.Error, continued))
	case e.Kind == netwatch.EntryNote:
		fmt.Fprint(c.stdout, "note: "+shown(strings.TrimPrefix(e.Rule+": "+e.Detail, ": ")))
	default:
		c.outcomeText(e)
	}
	fmt.Fprintln(c.stdout)
	if e.Hint != "" {
		fmt.Fprintf(c.stdout, "%s  %-10s  hint: %s\n", strings.Repeat(" ", 23), "", shown(e.Hint))
	}
}

// outcomeText prints how a step or a run ended.
func (c *command) outcomeText(e netwatch.Entry) {
	what, outcome := e.Step, string(e.Outcome)
	if e.Kind == netwatch.EntryRun {
		what = "run"
		if e.Outcome == netwatch.Failed && e.Retry == nil {
			outcome = "failed for good"
		}
	}
	fmt.Fprintf(c.stdout, "%s: %s: ", shown(e.Rule), shown(what))
	c.stdout.paint(e.Outcome, shown(outcome))
	for _, more := range []string{e.Detail, e.Error} {
		if more != "" {
			fmt.Fprint(c.stdout, ": "+lines(more, continued))
		}
	}
	fmt.Fprintf(c.stdout, " (%.3f s)", e.Seconds)
	if e.Wrong != nil {
		fmt.Fprintf(c.stdout, ", callers were wrong for %.1f to %.1f s", e.Wrong.Least, e.Wrong.Most)
	}
	if e.Retry != nil {
		fmt.Fprint(c.stdout, ", again at "+e.Retry.Local().Format("15:04:05"))
	}
	if e.Kind == netwatch.EntryRun && len(e.IDs) > 1 {
		fmt.Fprint(c.stdout, ", for "+shown(strings.Join(e.IDs, " ")))
	}
}

// noticedText says by what a change of our address was noticed, and after what.
func noticedText(by, after string) string {
	return "noticed by " + by + seenAfter[after]
}

// seenAfter says in words what a change was seen after.
var seenAfter = map[string]string{
	netwatch.AfterOutage: " after an outage", netwatch.AfterStop: " after a stop of netwatch",
}

func fieldsText(fields map[string]string) string {
	var text string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if fields[key] != "" {
			text += " " + plain(key) + "=" + plain(fields[key])
		}
	}
	return text
}

// plain makes a text of somebody else's fit for a person, in quotation marks if
// something in it is escaped.
func plain(text string) string {
	if shown(text) != text {
		return strconv.Quote(text)
	}
	return text
}

// ago is how long ago t was, for a person.
func ago(t time.Time) string {
	return time.Since(t).Round(time.Second).String() + " ago"
}
