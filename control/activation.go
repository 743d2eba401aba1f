package control

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"

	"netwatch"
)

// inherited are the sockets that systemd passes on (sd_listen_fds(3)), or nil if
// there are none. They must be those that the configuration names, where callers look
// for them. The two for few may be missing.
func inherited(path string) ([]*net.UnixListener, error) {
	files := activation.Files(true) // The environment is unset: children must not take it for theirs
	defer closeAll(files)
	var all []*net.UnixListener
	for _, f := range files {
		l, err := taken(f, path)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("taking the control socket from systemd: %w", err)
		}
		all = append(all, l)
	}
	if len(all) > 0 && !slices.ContainsFunc(all, func(l *net.UnixListener) bool { return l.Addr().String() == path }) {
		defer closeAll(all)
		return nil, otherSocket(all[0].Addr(), path)
	}
	return all, nil
}

// taken makes a listener of one of the files that systemd passes on.
func taken(f *os.File, path string) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok || !slices.Contains(doors(path), l.Addr().String()) {
		_ = l.Close()
		return nil, otherSocket(l.Addr(), path)
	}
	return u, nil
}

func otherSocket(is net.Addr, path string) error {
	return netwatch.WithHint(fmt.Errorf("it is %s, and the configuration says %s", is, path),
		"make ListenStream= of netwatch.socket and daemon.socket the same (systemctl edit netwatch.socket)")
}

func closeAll[C io.Closer](all []C) {
	for _, c := range all {
		_ = c.Close()
	}
}
