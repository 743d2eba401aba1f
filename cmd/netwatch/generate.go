package main

import (
	"github.com/spf13/cobra"

	"netwatch/grant"
)

// generateCommand is run by systemd's netwatch-generator only.
func (c *command) generateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate DIR", Short: "Leave flags out of units as systemd reads them", Hidden: true,
		Args: cobra.MinimumNArgs(1), // systemd gives three
		RunE: func(_ *cobra.Command, args []string) error { return grant.Generate(args[0]) },
	}
}
