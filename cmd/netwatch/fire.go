package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/control"
)

func (c *command) fireCommand() *cobra.Command {
	var req control.Request
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:               "fire EVENT [KEY=VALUE...]",
		Short:             "Hand the daemon an event, wait, print each step's result",
		Args:              anEvent,
		ValidArgsFunction: completeEvent,
		RunE: func(cmd *cobra.Command, args []string) error {
			fields, err := parseFields(args[1:])
			if err == nil && args[0] == "" {
				err = errors.New("firing an event: its name is empty")
			}
			if err == nil && timeout <= 0 {
				err = fmt.Errorf("--timeout %s is no time to wait; --no-wait does not wait", timeout)
			}
			if err != nil {
				return usageError{err}
			}
			req.Event, req.Fields = args[0], fields
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return c.fire(ctx, req)
		},
	}
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "print the rules and steps that would run, and run none")
	cmd.Flags().BoolVar(&req.NoWait, "no-wait", false, "return once the event is accepted")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait; the runs go on without the waiting")
	return c.jsonFlag(cmd)
}

// anEvent wants the name of an event.
func anEvent(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return netwatch.WithHint(errors.New("firing an event: which one is missing"),
			"netwatch fire ip-changed has netwatch look again and act")
	}
	return nil
}

// completeEvent completes the name of an event, and then its fields.
func completeEvent(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return netwatch.EventNames(), cobra.ShellCompDirectiveNoFileComp
	}
	event, _ := netwatch.KnownEvent(args[0])
	fields := make([]string, len(event.Fields))
	for i, field := range event.Fields {
		fields[i] = field + "="
	}
	return fields, cobra.ShellCompDirectiveNoSpace
}

// parseFields takes KEY=VALUE words.
func parseFields(words []string) (map[string]string, error) {
	fields := map[string]string{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("reading the fields of the event: %q is not KEY=VALUE", word)
		}
		if err := netwatch.CheckField(key); err != nil {
			return nil, fmt.Errorf("reading the fields of the event: %w", err)
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("reading the fields of the event: %s is given twice", key)
		}
		fields[key] = value
	}
	return fields, nil
}

// fire fires an event, prints the answer as it comes, and fails if something failed.
func (c *command) fire(ctx context.Context, req control.Request) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	left, failed, id := 0, false, ""
	accepted := func(a control.Accepted) {
		id = a.ID
		if !a.DryRun && !req.NoWait {
			left = len(a.Rules)
		}
		c.printAccepted(a, req)
	}
	each := func(e netwatch.Entry) {
		_ = c.printEntry(e)
		if e.RunEnded() {
			left--
			failed = failed || e.Outcome == netwatch.Failed
		}
	}
	err = client.Fire(ctx, req, accepted, each)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && id == "":
		return netwatch.WithHint(fmt.Errorf("firing %s: no answer when the time was up; "+
			"the event may be accepted all the same", req.Event),
			"netwatch history says; give it longer by --timeout; if it hangs: "+netwatch.Restarting("netwatch"))
	case errors.Is(err, control.ErrUnreachable) && id != "", err == nil && left > 0:
		return fmt.Errorf("firing %s: %w any more: %s is accepted, and its runs go on when it is back",
			req.Event, control.ErrUnreachable, id)
	case errors.Is(err, context.DeadlineExceeded):
		return netwatch.WithHint(fmt.Errorf("firing %s: still not done when the time was up", req.Event),
			"netwatch status shows what it waits for")
	case err != nil:
		return fmt.Errorf("firing %s: %w", req.Event, err)
	case failed:
		return errFailed
	}
	return nil
}

func (c *command) printAccepted(a control.Accepted, req control.Request) {
	if c.json {
		_ = c.printJSON(a)
		return
	}
	switch {
	case len(a.Rules) == 0:
		fmt.Fprintf(c.stdout, "%s: no rule matches these fields%s\n", shown(a.Event), fieldsText(req.Fields))
		fmt.Fprintf(c.stdout, "hint: see match of the rules on %s in %s\n", shown(a.Event), shown(c.config))
	case a.DryRun:
		for _, rule := range a.Rules {
			fmt.Fprintf(c.stdout, "%s:\n    %s\n", shown(rule.Name), lines(strings.Join(rule.Do, "\n"), "    "))
		}
	default:
		names := make([]string, len(a.Rules))
		for i, rule := range a.Rules {
			names[i] = shown(rule.Name)
		}
		fmt.Fprintf(c.stdout, "%s %s accepted, for %s\n", shown(a.Event), shown(a.ID), strings.Join(names, ", "))
	}
	if u := a.Unwritten; u != nil {
		fmt.Fprintf(c.stdout, "note: it is not on disk: %s; %s\n", lines(u.Error, continued), u.Risk())
		fmt.Fprintf(c.stdout, "hint: %s\n", shown(u.Hint))
	}
}
