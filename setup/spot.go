package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/machine"
)

// A spot is where a file lies or is to lie: its directory, which is held open, and its
// name in there. Who else may write on the way to it can put a link there at any moment,
// as the user of YunoHost's VPN client can below /etc/openvpn; root is not to be led
// elsewhere by that, nor to make a file of one content and another one's owner and mode.
type spot struct {
	dir  *os.File
	name string
}

// lies is where a file lies, with the links on its way that nobody but root can put there.
func (p *Plan) lies(file string) (host string, err error) {
	others := false
	return p.tree.Follow(file, func(h netwatch.Hop) error {
		at := p.tree.Host(h.Path())
		others = others || machine.OfOthers(p.tree.Host(h.Dir))
		info, err := os.Lstat(at)
		if err != nil || info.Mode().Type() != fs.ModeSymlink || !others && !machine.OfOthers(at) {
			return nil // What is not there is no link
		}
		err = fmt.Errorf("%s is a link that others than root can put there", h.Path())
		return netwatch.WithHint(err, "namei -l "+netwatch.ShellPath(file)+
			" shows whose it is: have a file or a directory in its place")
	})
}

// spot finds the place of a file, and holds it.
func (p *Plan) spot(file string) (*spot, error) {
	host, err := p.lies(file)
	if err != nil {
		return nil, err
	}
	root := p.tree.Host("/")
	inside, err := filepath.Rel(root, filepath.Dir(host))
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(root)
	for name := range strings.SplitSeq(inside, "/") {
		if err != nil {
			break
		}
		dir, err = within(dir, name)
	}
	return &spot{dir, filepath.Base(host)}, err
}

// within is a directory in another one, in whose place it is held. It is no link.
func within(dir *os.File, name string) (*os.File, error) {
	defer func() { _ = dir.Close() }()
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (s *spot) close() { _ = s.dir.Close() }

// held is the directory by a name that leads to it and nowhere else.
func (s *spot) held() string { return fmt.Sprintf("/proc/self/fd/%d", s.dir.Fd()) }

func (s *spot) path() string { return s.held() + "/" + s.name }

// look is what lies there, and its attributes; no content is no file.
func (s *spot) look() (text []byte, a attributes, err error) {
	f, info, err := netwatch.OpenRegular(s.path(), unix.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, a, nil
	}
	if err != nil {
		return nil, a, err
	}
	defer func() { _ = f.Close() }()
	st := info.Sys().(*syscall.Stat_t) // It is one on Linux
	a = attributes{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid)}
	if a.Xattrs, err = xattrs(f); err == nil {
		text, err = netwatch.ReadWhole(f, machine.MaxFile)
	}
	return text, a, err
}

// unmoved is what a file has beside the content that the plan knows. It is an error if
// somebody has changed it since.
func (p *Plan) unmoved(c Change) (a attributes, err error) {
	s, err := p.spot(c.File)
	if errors.Is(err, fs.ErrNotExist) && c.Before == nil {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	defer s.close()
	return s.unmoved(c)
}

func (s *spot) unmoved(c Change) (a attributes, err error) {
	now, a, err := s.look()
	if err == nil && ((now == nil) != (c.Before == nil) || !bytes.Equal(now, c.Before)) {
		err = netwatch.WithHint(errors.New("somebody else just did"), "run it again")
	}
	return a, err
}
