package main

import (
	"errors"
	"net"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/actions"
	"netwatch/helper"
)

// rotateElsewhere adds how the daemon has files rewritten: the user netwatch has
// the helper do it, if there is one, which serves nobody else; root, and another
// user with his own files, does it in process.
func rotateElsewhere(env actions.Env) actions.Env {
	if me, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil && me.Username == helper.User {
		env.Files = &helper.Client{Socket: helper.Socket}
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
				return netwatch.WithHint(errors.New("helping the daemon: the standard input is not its connection"),
					"systemd runs this, as netwatch-file@.service")
			}
			return s.Serve(cmd.Context(), socket)
		},
	}
}
