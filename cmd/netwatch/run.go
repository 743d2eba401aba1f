package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"netwatch/actions"
	"netwatch/daemon"
)

func (c *command) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the resident daemon", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, flush := daemon.NewLog(c.stderr, c.stderr.isTerminal())
			defer flush()
			d, err := daemon.New(c.config, version, log, rotateElsewhere(actions.Env{}))
			if err != nil {
				return err
			}
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			return d.Run(cmd.Context(), hangups)
		},
	}
}
