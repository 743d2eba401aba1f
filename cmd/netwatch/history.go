package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"netwatch"
)

func (c *command) historyCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "history", Short: "Print events, rules and step results since the daemon started, oldest first",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			err = client.History(cmd.Context(), follow, func(e netwatch.Entry) { _ = c.printEntry(e) })
			if err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("reading the history: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	return c.jsonFlag(cmd)
}
