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
	socket, err := daemonPath(file, "socket", defaultDaemon.Socket)
	if err != nil {
		return "", netwatch.WithHint(fmt.Errorf("looking for the control socket: %w", err),
			"name with --config a configuration that you may read, or none to ask the daemon of "+DefaultFile)
	}
	return socket, nil
}

// State is the state directory that a configuration names, found as Socket is.
func State(file string) (netwatch.Path, error) {
	dir, err := daemonPath(file, "state", defaultDaemon.State)
	if err != nil {
		return "", fmt.Errorf("looking for the state directory: %w", err)
	}
	return dir, nil
}

// daemonPath is the path that a key of [daemon] has; the default if it has none.
func daemonPath(file, key string, otherwise netwatch.Path) (netwatch.Path, error) {
	text, err := netwatch.ReadRegular(file, maxSize)
	if err != nil && file != DefaultFile {
		return "", err
	}
	var cfg struct{ Daemon map[string]any }
	_ = toml.Unmarshal(text, &cfg)
	given, _ := cfg.Daemon[key].(string) // What is no text is a mistake, and none for us
	if path, err := netwatch.ParsePath(given); err == nil {
		return path, nil
	}
	return otherwise, nil
}
