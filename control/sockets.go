package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"netwatch"
	"netwatch/access"
)

// Beside the socket for everyone there are two for few, whose names have these
// endings: one for root and the group, and one for the users of the sources. The
// kernel keeps a queue for each socket, so that whoever fills the first one's keeps
// none of them out.
const (
	ofGroup   = ".group"
	ofSources = ".source"
)

// doors are the paths of the sockets in the order in which a caller tries them. If
// one is not for him, does not exist or is full, he tries the next.
func doors(path string) []string { return []string{path + ofGroup, path + ofSources, path} }

// Sockets are what the daemon listens on.
type Sockets struct {
	path     string
	all      []*listener
	visitors *visitors
}

// Listen makes the sockets. The first is open to every user: what he may do, his
// credentials decide. A socket that a dead daemon left is replaced, one of a living
// daemon is not. If systemd holds the sockets they are taken over: what came while no
// daemon was there waits in them.
func Listen(path string) (*Sockets, error) {
	all, err := inherited(path)
	if all == nil && err == nil {
		all, err = create(path)
	}
	if err != nil {
		return nil, err
	}
	return newSockets(path, all...), nil
}

func newSockets(path string, all ...*net.UnixListener) *Sockets {
	s := &Sockets{path: path, visitors: newVisitors()}
	for _, l := range all {
		s.all = append(s.all, &listener{UnixListener: l, visitors: s.visitors})
	}
	return s
}

// Admit lets root and the group connect to the socket that is for them, and the users
// of the sources to the other one. If that fails, everybody still has the first
// socket.
func (s *Sockets) Admit(users []uint32) error {
	s.visitors.know(users)
	var errs []error
	for _, l := range s.all {
		switch name := l.Addr().String(); name {
		case s.path + ofGroup:
			_ = os.Chown(name, -1, access.GroupID()) // systemd has done it, or there is no such group
			errs = append(errs, keepTo(name, 0o660))
		case s.path + ofSources:
			err := access.Admit(name, users)
			if len(users) == 0 && errors.Is(err, fs.ErrPermission) {
				err = nil // It is another's, as systemd has it, and nobody is to be let in
			}
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	if errors.Is(err, fs.ErrNotExist) {
		return netwatch.WithHint(fmt.Errorf("saying who may connect: %w", err), "systemctl restart netwatch.socket")
	}
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("saying who may connect: %w", err),
			"set SocketUser= of netwatch.socket to the user that netwatch runs as")
	}
	return nil
}

// keepTo gives a socket a mode, unless it has that mode already: then it may belong
// to another user.
func keepTo(name string, mode os.FileMode) error {
	if info, err := os.Stat(name); err == nil && info.Mode().Perm() == mode {
		return nil
	}
	return os.Chmod(name, mode)
}

// Close ends the listening. Connections stay.
func (s *Sockets) Close() (err error) {
	for _, l := range s.all {
		err = errors.Join(err, l.Close())
	}
	return err
}

// heldOrElsewhere is the remedy where the daemon cannot make its sockets.
const heldOrElsewhere = "have systemd hold it: systemctl unmask netwatch.socket && systemctl start netwatch.socket; " +
	"or name a path as daemon.socket where netwatch may write"

// create makes the sockets where systemd does not hold them.
func create(path string) (all []*net.UnixListener, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // Every user may ask for the status
		return nil, netwatch.WithHint(fmt.Errorf("making the directory of the control socket: %w", err), heldOrElsewhere)
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, netwatch.WithHint(fmt.Errorf("listening on %s: another netwatch listens there", path),
			"stop the other one, or set daemon.socket to another path")
	}
	for _, name := range doors(path) {
		l, err := createOne(name)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, l)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // See above
		closeAll(all)
		return nil, fmt.Errorf("opening the control socket to all users: %w", err)
	}
	return all, nil
}

func createOne(path string) (*net.UnixListener, error) {
	if err := removeSocket(path); err != nil {
		return nil, fmt.Errorf("removing the old control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("listening on the control socket: %w", err),
			heldOrElsewhere)
	}
	return l, nil
}

// removeSocket removes what a dead daemon left, and nothing but a socket.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return netwatch.WithHint(fmt.Errorf("%s is not a socket", path), "name another path as daemon.socket")
	}
	return os.Remove(path)
}
