package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/control"
	"netwatch/doctor"
	"netwatch/helper"
)

func (c *command) doctorCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "doctor", Short: "Check the whole chain as it stands, each finding with its remedy", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := doctor.Doctor{
				Tree: "/", Config: c.config, Program: program(), Version: version, Daemon: c.askStatus, Probe: c.askPeers,
				Files: &helper.Client{Socket: helper.Socket}, Verify: c.verifyOutside,
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

// verifyOutside has the daemon ask other machines how our servers are from outside.
func (c *command) verifyOutside(ctx context.Context, each func(control.Verified)) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	return client.Verify(ctx, each)
}

// program is the path of this program.
func program() string {
	if self, err := os.Executable(); err == nil {
		return self
	}
	return "/usr/bin/netwatch"
}

// printFinding prints a finding as a line, and its remedy as another; or as a JSON
// object.
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

// colourOf is, for each level, the outcome of a step that has the same colour.
var colourOf = map[doctor.Level]netwatch.Outcome{
	doctor.OK: netwatch.Changed, doctor.Warning: netwatch.Held, doctor.Problem: netwatch.Failed,
}
