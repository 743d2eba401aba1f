package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"netwatch/config"
	"netwatch/setup"
)

func (c *command) setCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set NAME[=VALUE]...", Args: cobra.MinimumNArgs(1),
		Short: "Change values of the configuration and nothing else in it, or print them",
		RunE: func(cmd *cobra.Command, args []string) error {
			var values []setup.Value
			for _, arg := range args {
				if name, value, ok := strings.Cut(arg, "="); ok {
					values = append(values, setup.Value{Name: name, Text: value})
				}
			}
			switch len(values) {
			case 0:
				return c.printValues(args)
			case len(args):
				return c.setValues(cmd.Context(), values)
			}
			return usageError{errors.New("either all names have a value, or none")}
		},
	}
}

// printValues prints what the configuration has, one a line.
func (c *command) printValues(names []string) error {
	text, err := config.Read(c.config)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	for _, name := range names {
		value, err := config.Get(c.config, text, name)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, shown(value))
	}
	return nil
}

// setValues writes values, and says what has them heeded.
func (c *command) setValues(ctx context.Context, values []setup.Value) error {
	file, err := filepath.Abs(c.config)
	if err != nil {
		return fmt.Errorf("finding the configuration: %w", err)
	}
	changed, err := setup.Set(ctx, file, values)
	switch {
	case err != nil:
		return forRoot(err)
	case !changed:
		fmt.Fprintln(c.stdout, "unchanged")
	case file == config.DefaultFile:
		fmt.Fprintln(c.stdout, "next: systemctl reload netwatch.service")
	}
	return nil
}
