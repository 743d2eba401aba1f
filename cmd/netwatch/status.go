package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/control"
	"netwatch/hooks"
	"netwatch/sources"
)

func (c *command) statusCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "status", Short: "Print what is known, what is watched, what is pending and what failed",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.askStatus(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(s)
			} else {
				err = c.printStatus(s)
			}
			if err == nil && s.Unwritten != nil {
				return errFailed
			}
			return err
		},
	})
}

// askStatus asks the daemon how it stands.
func (c *command) askStatus(ctx context.Context) (control.Status, error) {
	client, err := c.client()
	if err != nil {
		return control.Status{}, err
	}
	s, err := client.Status(ctx)
	if err != nil {
		err = fmt.Errorf("asking for the status: %w", err)
	}
	return s, err
}

// printStatus prints a status for a person.
func (c *command) printStatus(s control.Status) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "netwatch\t%s, process %d, started %s, %s\n",
		shown(s.Version), s.PID, ago(s.Since), shown(s.Config))
	if s.Refused != "" {
		fmt.Fprintf(w, "configuration\tthe file was refused, and the one before it is in force:\n\t%s\n",
			lines(s.Refused, "\t"))
	}
	if u := s.Unwritten; u != nil {
		fmt.Fprintf(w, "state\tnot on disk: %s; %s\n\thint: %s\n", lines(u.Error, "\t"), u.Risk(), shown(u.Hint))
	}
	if u := s.Unkept; u != nil {
		fmt.Fprintf(w, "history\tnot kept since %s: %s\n\thint: %s\n",
			u.Since.Local().Format(time.DateTime), lines(u.Error, "\t"), shown(u.Hint))
	}
	for _, family := range netwatch.Families {
		if a, ok := s.Addresses[family]; ok {
			fmt.Fprintf(w, "%s\t%s since %s, confirmed %s by %s%s%s\n",
				family, a.Address, a.Since.Local().Format(time.DateTime), ago(a.Confirmed),
				shown(strings.Join(a.By, ", ")), askedFrom(a), doubt(a))
		} else {
			fmt.Fprintf(w, "%s\tnot known%s\n", family, unasked(s))
		}
	}
	for _, d := range s.Damped {
		fmt.Fprintf(w, "%s held\t%s while %s comes and goes, as with load balancing over two lines;\n"+
			"\tpenalty %d, until %s at the earliest\n", d.Family, d.Held, d.Seen, d.Penalty,
			d.Until.Local().Format(time.DateTime))
	}
	printRouter(w, s)
	printPeers(w, s.Peers)
	for _, source := range s.Sources {
		fmt.Fprintf(w, "source %s\t%s\n", shown(source.Name), lines(source.String(), "\t"))
	}
	for _, rule := range s.Rules {
		c.printRule(w, rule)
	}
	return w.Flush()
}

// unasked says that the daemon has no source that asks for our address, if so: a router that
// only tells lacks none.
func unasked(s control.Status) string {
	for _, source := range s.Sources {
		for _, kind := range sources.Kinds {
			if _, asks := kind.Settings().(sources.Asking); asks && kind.Name == source.Kind {
				return ""
			}
		}
	}
	return ", and no source asks"
}

func (c *command) printRule(w io.Writer, r hooks.RuleStatus) {
	var all []string
	if r.Last != nil && r.Failed == nil {
		all = append(all, fmt.Sprintf("%s %s, %s", r.Last.Outcome, ago(r.Last.Time), r.Last.ID))
	}
	if r.Running != nil {
		all = append(all, runningText(r.Doing))
	}
	if r.Waiting != nil {
		all = append(all, waitingText(r.Waiting)...)
	}
	if f := r.Failed; f != nil && r.Waiting == nil {
		all = append(all, fmt.Sprintf("gave up %s: %s: %s", ago(f.Time), f.Step, f.Error))
		if f.Hint != "" {
			all = append(all, "hint: "+f.Hint)
		}
	}
	if len(all) == 0 {
		all = append(all, "not run since netwatch started")
	}
	fmt.Fprintf(w, "rule %s", shown(r.Name))
	for _, line := range all {
		fmt.Fprintf(w, "\t%s\n", lines(line, "\t    "))
	}
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

// waitingText says what a run waits for, and what helps.
func waitingText(w *hooks.Waiting) []string {
	due := w.Due.Local().Format(time.TimeOnly)
	switch {
	case w.Tried == nil && w.Due.Before(time.Now()):
		return []string{"settled at " + due + ", and waits for the run before it"}
	case w.Tried == nil:
		return []string{"settling until " + due}
	case w.Tried.Outcome == netwatch.Held:
		return []string{fmt.Sprintf("held back until %s: %s: %s", due, w.Tried.Step, w.Tried.Detail)}
	}
	all := []string{fmt.Sprintf("failed, again at %s: %s: %s", due, w.Tried.Step, w.Tried.Error)}
	if w.Tried.Hint != "" {
		all = append(all, "hint: "+w.Tried.Hint)
	}
	return all
}

// askedFrom says by which address of this machine an address was found out, if another.
func askedFrom(a netwatch.Address) string {
	if !a.Own.IsValid() || a.Own == a.Address {
		return ""
	}
	return ", asked from " + a.Own.String()
}

// doubt says since when nobody confirms an address any more, if so.
func doubt(a netwatch.Address) string {
	if a.Unconfirmed.IsZero() {
		return ""
	}
	return ", by nobody any more since " + a.Unconfirmed.Local().Format(time.DateTime)
}
