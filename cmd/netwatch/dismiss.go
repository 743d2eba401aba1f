package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *command) dismissCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dismiss RULE", Short: "Forget that a rule failed for good", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			if err := client.Dismiss(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("dismissing the failure of %s: %w", args[0], err)
			}
			return nil
		},
	}
}
