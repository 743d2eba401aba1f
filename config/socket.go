package config

import (
	"fmt"

	"github.com/pelletier/go-toml/v2"

	"netwatch"
)

// Socket is the control socket that a configuration names. It is for commands that
// only ask a running daemon, so mistakes elsewhere in the file do not matter. If the
// default file does not exist or the user may not read it, he gets the default
// socket. A file that he names himself must be readable.
func Socket(file string) (netwatch.Path, error) {
	text, err := netwatch.ReadRegular(file, maxSize)
	if err != nil && file != DefaultFile {
		return "", netwatch.WithHint(fmt.Errorf("looking for the control socket: %w", err),
			"name with --config a configuration that you may read, or none to ask the daemon of "+DefaultFile)
	}
	var cfg struct{ Daemon struct{ Socket string } }
	_ = toml.Unmarshal(text, &cfg)
	if socket, err := netwatch.ParsePath(cfg.Daemon.Socket); err == nil {
		return socket, nil
	}
	return defaultDaemon.Socket, nil
}
