package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/doctor"
	"netwatch/helper"
)

func (c *command) doctorCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "doctor", Short: "Check the whole chain as it stands, each finding with its remedy", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := doctor.Doctor{
				Tree: "/", Config: c.config, Program: program(), Version: version, Daemon: c.askDaemon,
				Files: &helper.Client{Socket: helper.Socket},
			}
			problem := false
			d.Examine(cmd.Context(), func(f doctor.Finding) {
				problem = problem || f.Level == doctor.Problem
				c.printFinding(f)
			})
			if problem {
				return errFailed
			}
			return nil
		},
	})
}

// program is where this program lies.
func program() string {
	if self, err := os.Executable(); err == nil {
		return self
	}
	return "/usr/bin/netwatch"
}

// printFinding prints a line, and one more for a remedy; or an object.
func (c *command) printFinding(f doctor.Finding) {
	if c.json {
		_ = c.printJSON(f)
		return
	}
	const indent = "         "
	c.stdout.paint(colourOf[f.Level], fmt.Sprintf("%-8s", f.Level))
	fmt.Fprintf(c.stdout, " %s: %s\n", shown(f.What), lines(f.Found, indent))
	if f.Hint != "" {
		fmt.Fprintf(c.stdout, "%shint: %s\n", indent, shown(f.Hint))
	}
}

// colourOf is the outcome of a step that looks as bad as a finding of each level.
var colourOf = map[doctor.Level]netwatch.Outcome{
	doctor.OK: netwatch.Changed, doctor.Warning: netwatch.Held, doctor.Problem: netwatch.Failed,
}

// askDaemon asks the daemon how it stands, for doctor.
func (c *command) askDaemon(ctx context.Context) (d doctor.Daemon, err error) {
	client, err := c.client()
	if err != nil {
		return d, err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return d, fmt.Errorf("asking for the status: %w", err)
	}
	d = doctor.Daemon{Version: s.Version, PID: s.PID, Refused: s.Refused}
	if u := s.Unwritten; u != nil {
		d.AtRisk, d.Remedy = u.Error+"; "+u.Risk(), u.Hint
	}
	for _, source := range s.Sources {
		if source.Error != "" || source.Trouble != "" {
			d.Troubles = append(d.Troubles, [2]string{"source " + source.Name, sourceText(source)})
		}
	}
	for _, r := range s.Rules {
		if f := r.Failed; f != nil {
			d.Troubles = append(d.Troubles, [2]string{"rule " + r.Name, "gave up: " + f.Step + ": " + f.Error})
		} else if w := r.Waiting; w != nil && w.Tried != nil && w.Tried.Outcome == netwatch.Failed {
			d.Troubles = append(d.Troubles, [2]string{"rule " + r.Name, "fails: " + w.Tried.Step + ": " + w.Tried.Error})
		}
	}
	return d, nil
}
