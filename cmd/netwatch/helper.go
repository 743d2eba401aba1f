package main

import (
	"errors"
	"net"
	"os"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/helper"
)

// rotateElsewhere lends the helper to the actions, if this is the user netwatch and
// there is a helper, which serves nobody else. Root, and any other user with his own
// files, rewrites them in this process.
func rotateElsewhere(env actions.Env) actions.Env {
	if access.NameOf(os.Geteuid()) == helper.User {
		env.Files = &helper.Client{Socket: helper.Socket}
	}
	return env
}

// helperCommand is run by netwatch-file@.service only.
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
				return netwatch.WithHint(errors.New("helping the daemon: the standard input is not its connection"),
					"systemd runs this, as netwatch-file@.service")
			}
			return s.Serve(cmd.Context(), socket)
		},
	}
}
