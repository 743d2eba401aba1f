package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"netwatch"
)

// Socket is the control socket that a configuration names. It is for those who
// only ask a running daemon: mistakes elsewhere in the file do not matter, and
// a user who may not read the default file, or has none, gets the default
// socket. A file named by the user must be readable.
func Socket(file string) (netwatch.Path, error) {
	text, err := readRegular(file)
	if err != nil && file != DefaultFile {
		return "", netwatch.WithHint(fmt.Errorf("looking for the control socket: %w", err), "name with --config a configuration that you may read, or none to ask the daemon of "+DefaultFile)
	}
	var cfg struct{ Daemon struct{ Socket string } }
	_ = toml.Unmarshal(text, &cfg)
	if socket, err := netwatch.ParsePath(cfg.Daemon.Socket); err == nil {
		return socket, nil
	}
	return defaultDaemon.Socket, nil
}

// readRegular reads a file that is no larger than a configuration, and waits for
// nobody who should write it.
func readRegular(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", file))
	}
	return io.ReadAll(io.LimitReader(f, MaxSize))
}
