package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"netwatch/actions"
	"netwatch/config"
)

func (c *command) checkCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "check", Short: "Read the configuration and print every mistake", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := config.Load(c.config, actions.Env{})
			if c.json {
				return c.checkJSON(err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "%s: sources %d, rules %d, mistakes 0\n",
				shown(c.config), len(cfg.Sources), len(cfg.Rules))
			return err
		},
	})
}

// checkJSON prints the mistakes as data.
func (c *command) checkJSON(err error) error {
	mistakes := config.Mistakes{}
	if err != nil && !errors.As(err, &mistakes) {
		return err
	}
	if err := c.printJSON(map[string]any{"file": c.config, "mistakes": mistakes}); err != nil {
		return err
	}
	if len(mistakes) > 0 {
		return errFailed
	}
	return nil
}
