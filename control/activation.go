package control

import (
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"

	"netwatch"
)

// inherited is the socket that systemd holds (sd_listen_fds(3)), or nil when
// there is none. It must be the one that the configuration names: who fires
// looks there.
func inherited(path string) (*net.UnixListener, error) {
	files := activation.Files(true) // the environment is unset: children must not take it for theirs
	defer closeAll(files)
	if len(files) == 0 {
		return nil, nil
	}
	if len(files) > 1 {
		return nil, fmt.Errorf("systemd hands over %d sockets; netwatch has one, %s", len(files), path)
	}
	l, err := net.FileListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("taking the control socket from systemd: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok || l.Addr().String() != path {
		_ = l.Close()
		return nil, netwatch.WithHint(fmt.Errorf("taking the control socket from systemd: it is %s, and the configuration says %s", l.Addr(), path),
			"make ListenStream= of netwatch.socket and daemon.socket the same (systemctl edit netwatch.socket)")
	}
	return u, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
