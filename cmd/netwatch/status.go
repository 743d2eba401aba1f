package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/control"
	"netwatch/hooks"
)

func (c *command) statusCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "status", Short: "Print what is known, what is watched, what is pending and what failed",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return fmt.Errorf("asking for the status: %w", err)
			}
			if c.json {
				return c.printJSON(s)
			}
			return c.printStatus(s)
		},
	})
}

// printStatus prints a status for a person.
func (c *command) printStatus(s control.Status) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "netwatch\t%s, process %d, started %s, %s\n", s.Version, s.PID, ago(s.Since), s.Config)
	if s.Refused != "" {
		fmt.Fprintf(w, "configuration\tthe file was refused, and the one before it is in force:\n\t%s\n", strings.ReplaceAll(s.Refused, "\n", "\n\t"))
	}
	for _, family := range netwatch.Families {
		if a, ok := s.Addresses[family]; ok {
			fmt.Fprintf(w, "%s\t%s since %s, confirmed %s by %s\n", family, a.Address, a.Since.Local().Format(time.DateTime), ago(a.Confirmed), strings.Join(a.By, ", "))
		} else {
			fmt.Fprintf(w, "%s\tnot known\n", family)
		}
	}
	for _, source := range s.Sources {
		fmt.Fprintf(w, "source %s\t%s\n", source.Name, sourceText(source))
	}
	for _, rule := range s.Rules {
		c.printRule(w, rule)
	}
	return w.Flush()
}

func sourceText(s control.SourceStatus) string {
	switch {
	case s.Error != "":
		return "not watching: " + s.Error
	case s.Trouble != "":
		return "watching, but " + strings.ReplaceAll(s.Trouble, "\n", "\n\t")
	}
	return "watching"
}

func (c *command) printRule(w io.Writer, r hooks.RuleStatus) {
	var lines []string
	if r.Last != nil && r.Failed == nil {
		lines = append(lines, fmt.Sprintf("%s %s, %s", r.Last.Outcome, ago(r.Last.Time), r.Last.ID))
	}
	if r.Running != nil {
		lines = append(lines, runningText(r.Doing))
	}
	if r.Waiting != nil {
		lines = append(lines, waitingText(r.Waiting))
	}
	if f := r.Failed; f != nil && r.Waiting == nil {
		lines = append(lines, fmt.Sprintf("gave up %s: %s: %s", ago(f.Time), f.Step, f.Error))
		if f.Hint != "" {
			lines = append(lines, "hint: "+f.Hint)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "not run since netwatch started")
	}
	fmt.Fprintf(w, "rule %s\t%s\n", r.Name, strings.Join(lines, "\n\t"))
}

// runningText says what a run is at.
func runningText(d *hooks.Doing) string {
	if d == nil {
		return "running"
	}
	text := fmt.Sprintf("running: %s, since %s", d.Step, d.Since.Local().Format(time.TimeOnly))
	if d.Waits != "" {
		text += ": waits for " + d.Waits
	}
	return text
}

// waitingText says what a run waits for.
func waitingText(w *hooks.Waiting) string {
	due := w.Due.Local().Format(time.TimeOnly)
	switch {
	case w.Tried == nil:
		return "settling until " + due
	case w.Tried.Outcome == netwatch.Held:
		return fmt.Sprintf("held back until %s: %s: %s", due, w.Tried.Step, w.Tried.Detail)
	}
	text := fmt.Sprintf("failed, again at %s: %s: %s", due, w.Tried.Step, w.Tried.Error)
	if w.Tried.Hint != "" {
		text += "\n\thint: " + w.Tried.Hint
	}
	return text
}
