package main

import (
	"errors"
	"net"
	"os"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/actions"
	"netwatch/helper"
)

// rotateElsewhere adds how the daemon has files rewritten: root does it in
// process, everybody else has the helper do it, if there is one for him.
func rotateElsewhere(env actions.Env) actions.Env {
	if os.Geteuid() != 0 {
		c := &helper.Client{Socket: helper.Socket}
		env.Rotate, env.PrepareRotate = c.Rotate, c.Prepare
	}
	return env
}

// helperCommand is for netwatch-file@.service alone.
func (c *command) helperCommand() *cobra.Command {
	return &cobra.Command{
		Use: "helper", Short: "Answer one request of the daemon to rewrite a file", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := helper.ParseServer(os.Getenv(helper.Environment))
			if err != nil {
				return err
			}
			conn, err := net.FileConn(os.Stdin)
			socket, ok := conn.(*net.UnixConn)
			if err != nil || !ok {
				return netwatch.WithHint(errors.New("helping the daemon: the standard input is not its connection"), "systemd runs this, as netwatch-file@.service")
			}
			return s.Serve(cmd.Context(), socket)
		},
	}
}
