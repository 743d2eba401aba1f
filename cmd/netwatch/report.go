package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/control"
	"netwatch/report"
)

// A reportWish is what a report is to be about, and where it goes.
type reportWish struct{ since, until, output string }

func (c *command) reportCommand() *cobra.Command {
	var w reportWish
	cmd := &cobra.Command{
		Use: "report", Short: "Print what happened and how long callers were wrong, or write it as a page with pictures",
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.output != "" && c.json {
				return usageError{errors.New("--json and --output exclude each other")}
			}
			from, until, err := w.period(time.Now())
			if err != nil {
				return err
			}
			r, err := c.reckon(cmd.Context(), from, until)
			if err != nil {
				return fmt.Errorf("reading the history: %w", err)
			}
			return c.showReport(r, w.output)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&w.since, "since", "30d", "from `WHEN` on: 30d, 2h, today, yesterday, a date, a time")
	flags.StringVar(&w.until, "until", "", "until `WHEN`, and not until now")
	flags.StringVarP(&w.output, "output", "o", "", "write it as a page to `FILE`; - is standard output")
	c.jsonFlag(cmd)
	for _, name := range []string{"since", "until"} {
		_ = cmd.RegisterFlagCompletionFunc(name, c.completeHistory(name)) // Each is a flag of it
	}
	return cmd
}

// period is from when until when.
func (w reportWish) period(now time.Time) (from, until time.Time, err error) {
	until = now
	if w.until != "" {
		until, err = netwatch.When(w.until, now)
		if until.After(now) {
			until = now
		}
	}
	if err != nil {
		return from, until, usageError{fmt.Errorf("--until: %w", err)}
	}
	if from, err = netwatch.When(w.since, now); err != nil {
		return from, until, usageError{fmt.Errorf("--since: %w", err)}
	}
	if !from.Before(until) {
		return from, until, usageError{errors.New("--since: it is not before the end of the report")}
	}
	return from, until.In(now.Location()), nil
}

// reckon reads the history, and says what it comes to.
func (c *command) reckon(ctx context.Context, from, until time.Time) (report.Report, error) {
	reckoner := report.NewReckoner(from, until)
	skipped := []string{}
	say := func(err error) {
		if text := err.Error(); !slices.Contains(skipped, text) { // Both readings meet the same
			skipped = append(skipped, text)
		}
	}
	all, addresses := reckoner.Queries()
	_, _, err := c.readHistory(ctx, all, reckoner.Add, say)
	if err != nil && !errors.Is(err, control.ErrUnreachable) {
		return report.Report{}, err
	}
	_, _, also := c.readHistory(ctx, addresses, reckoner.AddAddress, say)
	if also != nil && (err != nil || !errors.Is(also, control.ErrUnreachable)) { // One of the files is enough
		return report.Report{}, also
	}
	host, _ := os.Hostname() // Without a name it is without one
	return reckoner.Report(host, version, skipped), nil
}

// showReport shows it: as JSON, as a text, or as a page.
func (c *command) showReport(r report.Report, output string) error {
	language := report.LanguageOf(os.Getenv)
	switch {
	case c.json:
		return c.printJSON(r)
	case output == "":
		return report.Text(c.stdout, r, language)
	case output == "-":
		return report.Page(c.stdout, r, language)
	}
	err := writeNew(output, func(w io.Writer) error { return report.Page(w, r, language) })
	if err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// writeNew puts a new file, for its owner alone, into the place of whatever file or link
// has the name. What the link leads to stays as it is.
func writeNew(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // As /dev/stdout, which root could replace
		return netwatch.WithHint(fmt.Errorf("%s: %w", path, netwatch.ErrNotRegular), "-o - writes it on standard output")
	}
	file, err := renameio.NewPendingFile(path,
		renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }() // Nothing is left to do once it is in place
	if err := write(file); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}
