package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
	"netwatch/history"
)

// A historyWish is which part of history is wanted, and how.
type historyWish struct {
	since, until string
	rule, event  string
	newest       int
	follow       bool
	addresses    bool
	query        history.Query
}

func (c *command) historyCommand() *cobra.Command {
	w := historyWish{newest: -1}
	cmd := &cobra.Command{
		Use: "history", Short: "Print events, rules and step results, oldest first",
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.parse(time.Now()); err != nil {
				return err
			}
			err := c.history(cmd.Context(), w)
			if err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("reading the history: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&w.follow, "follow", "f", false, "go on with what comes")
	flags.StringVar(&w.since, "since", "", "not what was before `WHEN`: 30d, 2h, today, yesterday, a date, a time")
	flags.StringVar(&w.until, "until", "", "not what was from `WHEN` on")
	flags.StringVar(&w.rule, "rule", "", "only what is of the rule `NAME`")
	flags.StringVar(&w.event, "event", "", "only what is of the event `NAME`")
	flags.IntVarP(&w.newest, "lines", "n", -1, "of what was only the newest `N`")
	flags.BoolVar(&w.addresses, "addresses", false, "each public address, with from when until when it was ours")
	for _, name := range []string{"since", "until", "rule", "event", "lines"} {
		_ = cmd.RegisterFlagCompletionFunc(name, c.completeHistory(name)) // Each is a flag of it
	}
	return c.jsonFlag(cmd)
}

// completeHistory proposes what can follow a flag.
func (c *command) completeHistory(flag string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch flag {
		case "since", "until":
			return []string{"today", "yesterday", "2h", "30d"}, cobra.ShellCompDirectiveNoFileComp
		case "event":
			return netwatch.EventNames(), cobra.ShellCompDirectiveNoFileComp
		case "rule":
			if s, err := c.askStatus(cmd.Context()); err == nil {
				names := make([]string, len(s.Rules))
				for i, r := range s.Rules {
					names[i] = r.Name
				}
				return names, cobra.ShellCompDirectiveNoFileComp
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// noWords refuses words behind the flags, as the second half of a moment is one.
func noWords(cmd *cobra.Command, words []string) error {
	if len(words) == 0 {
		return nil
	}
	return netwatch.WithHint(fmt.Errorf("%q is a word too many for %s", words[0], cmd.CommandPath()),
		`a date and a time are one word: --since "2026-11-23 04:30"`)
}

// parse reads the times of the wish.
func (w *historyWish) parse(now time.Time) (err error) {
	switch {
	case w.addresses && (w.follow || w.rule != "" || w.event != ""):
		return usageError{errors.New("--addresses goes with --since, --until and -n alone")}
	case w.follow && w.until != "":
		return usageError{errors.New("--until ends the history, and -f does not: one of them")}
	}
	for flag, to := range map[string]struct {
		text string
		at   *time.Time
	}{"--since": {w.since, &w.query.Since}, "--until": {w.until, &w.query.Until}} {
		if to.text == "" {
			continue
		}
		if *to.at, err = netwatch.When(to.text, now); err != nil {
			return usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	return nil
}

// wants says whether an entry is of the rule and of the event that are wanted, if any.
func (w *historyWish) wants(e netwatch.Entry) bool {
	return (w.rule == "" || e.Rule == w.rule) && (w.event == "" || e.Event == w.event)
}

// history prints what is wanted.
func (c *command) history(ctx context.Context, w historyWish) error {
	if w.addresses {
		return c.historyOfAddresses(ctx, w)
	}
	prints := func(e netwatch.Entry) {
		if w.wants(e) {
			_ = c.printEntry(e)
		}
	}
	newest, rules := newest{most: w.newest}, map[string]bool{}
	each := func(e netwatch.Entry) {
		rules[e.Rule] = true
		switch {
		case w.newest < 0:
			prints(e)
		case w.wants(e):
			newest.add(e)
		}
	}
	c.stdout.gather()
	client, reading, err := c.readHistory(ctx, w.query, each, c.say)
	for _, e := range newest.all {
		prints(e)
	}
	c.stdout.release()
	if err == nil && !rules[w.rule] && w.rule != "" {
		c.say(noneOf(w.rule, rules))
	}
	if err == nil && w.follow {
		err = client.Follow(ctx, w.query, reading, prints)
	}
	return cmp.Or(c.stdout.failed(), err)
}

// noneOf says that nothing is of a rule, and of which ones something is.
func noneOf(rule string, met map[string]bool) error {
	delete(met, "") // Events are of none
	if len(met) == 0 {
		return errors.New("reading the history: nothing in this part of it is of a rule")
	}
	names := slices.Sorted(maps.Keys(met))
	return netwatch.WithHint(fmt.Errorf("reading the history: nothing in this part of it is of a rule %q", rule),
		fmt.Sprintf("these have some: %q", names))
}

// newest are the last entries of many.
type newest struct {
	most int
	all  []netwatch.Entry
}

// add adds one, and forgets one before from time to time.
func (n *newest) add(e netwatch.Entry) {
	if n.all = append(n.all, e); len(n.all) > n.most {
		n.all = n.all[len(n.all)-n.most:]
	}
}

// say says on standard error what one should know of what is printed.
func (c *command) say(err error) { printError(c.stderr, err) }

// readHistory calls each with every entry that a query wants. The daemon gives them; if
// it cannot be reached they are in its files, for who may read these. What is skipped it
// says.
func (c *command) readHistory(
	ctx context.Context, q history.Query, each func(netwatch.Entry), say func(error),
) (*control.Client, control.Reading, error) {
	client, err := c.client()
	if err != nil {
		return nil, control.Reading{}, err
	}
	some := false
	reading, err := client.History(ctx, q, func(e netwatch.Entry) {
		some = true
		each(e)
	})
	if reading.Damaged > 0 {
		say(fmt.Errorf("reading the history: damaged lines, which are skipped: %d", reading.Damaged))
	}
	if errors.Is(err, control.ErrUnreachable) && !some {
		err = c.readFiles(q, each, say, err)
	}
	return client, reading, err
}

// readFiles does it without the daemon, which cannot be reached.
func (c *command) readFiles(q history.Query, each func(netwatch.Entry), say func(error), unreachable error) error {
	dir, err := config.State(c.config)
	if err != nil {
		return err
	}
	files := history.NewReader(string(dir))
	err = files.Read(q, each)
	for _, skipped := range files.Skipped() {
		say(skipped)
	}
	switch {
	case err != nil:
		return netwatch.WithHint(fmt.Errorf("%w; nor can its files: %w", unreachable, err),
			cmp.Or(netwatch.Hint(unreachable), netwatch.Hint(err)))
	case !files.Any():
		return unreachable
	}
	say(fmt.Errorf("%s; this is from its files in %s", unreachable.Error(), dir)) // It has a remedy, which is not wanted
	return nil
}

// historyOfAddresses prints each public address.
func (c *command) historyOfAddresses(ctx context.Context, w historyWish) error {
	var all history.Addresses
	if _, _, err := c.readHistory(ctx, history.Query{Addresses: true}, all.Add, c.say); err != nil {
		return err
	}
	addresses := all.Of(w.query, time.Now())
	if w.newest >= 0 {
		addresses = addresses[max(0, len(addresses)-w.newest):]
	}
	if !c.json {
		return c.printAddresses(addresses)
	}
	for _, a := range addresses {
		if err := c.printJSON(a); err != nil {
			return err
		}
	}
	return nil
}

// printAddresses prints addresses for a person.
func (c *command) printAddresses(all []history.Address) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tFROM\tUNTIL\tHOW LONG\tNOTICED BY\tCONFIRMED BY")
	for _, a := range all {
		until := "now"
		if !a.Until.IsZero() {
			until = a.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Address, a.From.Local().Format(time.DateTime), until,
			howLong(a.Seconds), shown(a.Noticed+seenAfter[a.After]), shown(strings.Join(a.By, ", ")))
	}
	return w.Flush()
}

// howLong is a time for a person: its two largest parts.
func howLong(seconds float64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
