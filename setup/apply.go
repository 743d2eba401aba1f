package setup

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"netwatch"
)

// attributes are what is kept of a file beside its content.
type attributes struct {
	Mode uint32 `json:"mode,omitempty"` // permissions and set-id bits, chmod(2)
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Xattrs are the extended attributes, ACLs among them.
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// Apply backs up the files and makes the changes. It returns the directory of the
// backup, which is empty if there was nothing to do. At any time each file is
// the old one or the new one, whole. done is called after each change.
func (p *Plan) Apply(done func(Change)) (backup string, err error) {
	m, err := p.manifest()
	if err != nil {
		return "", err
	}
	if backup, err = p.backUp(m); err != nil {
		return "", fmt.Errorf("backing up: %w", err)
	}
	for i, c := range p.Changes {
		if err := p.change(c, m.Entries[i].attributes); err != nil {
			return backup, explain("changing", c.File, err)
		}
		done(c)
	}
	return backup, nil
}

// manifest is how all files are now.
func (p *Plan) manifest() (m manifest, err error) {
	for i, c := range p.Changes {
		e := entry{File: c.File, Calls: c.calls, Lines: c.lines}
		if c.After != nil {
			e.After = netwatch.Fingerprint(c.After)
		}
		is, err := p.unmoved(c)
		if err != nil {
			return m, explain("changing", c.File, err)
		}
		e.attributes = is
		if c.Before == nil {
			e.Mode, e.UID, e.GID = cmp.Or(c.mode, newMode), os.Geteuid(), os.Getegid()
			for dir := path.Dir(c.File); !p.tree.Has(dir); dir = path.Dir(dir) {
				e.Made = append(e.Made, dir)
			}
		} else {
			e.Copy = strconv.Itoa(i)
		}
		m.Entries = append(m.Entries, e)
	}
	return m, nil
}

// xattrs are all extended attributes of a file.
func xattrs(f *os.File) (map[string][]byte, error) {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX, xattr(7)
	n, err := unix.Flistxattr(int(f.Fd()), list)
	if n == 0 || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, name := range bytes.Split(bytes.TrimSuffix(list[:n], []byte{0}), []byte{0}) {
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(int(f.Fd()), string(name), value)
		if err != nil {
			return nil, err
		}
		all[string(name)] = value[:n]
	}
	return all, nil
}

// backUp writes the copies and then the manifest, and returns when the disk has all
// of it. Also of a plan that only makes new files the manifest says which.
func (p *Plan) backUp(m manifest) (dir string, err error) {
	if len(m.Entries) == 0 {
		return "", nil
	}
	dir = path.Join(backups, time.Now().UTC().Format("20060102T150405.000"))
	host, err := p.tree.Resolve(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(host, 0o700); err != nil { // sudoers is not for everyone
		return "", err
	}
	if err := rootsOwn(host); err != nil {
		return "", err
	}
	for i, e := range m.Entries {
		if e.Copy != "" {
			if err := renameio.WriteFile(filepath.Join(host, e.Copy), p.Changes[i].Before, 0o600); err != nil {
				return "", err
			}
		}
	}
	return dir, errors.Join(m.write(host), syncDir(host))
}

// change makes one change of a file that is still as the plan knows it.
func (p *Plan) change(c Change, a attributes) error {
	if c.Before == nil {
		if err := p.makeDir(c.File); err != nil {
			return err
		}
	}
	s, err := p.spot(c.File)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.unmoved(c); err != nil {
		return err
	}
	if c.After == nil {
		return errors.Join(os.Remove(s.path()), syncDir(s.held()))
	}
	return s.put(c.After, a)
}

// makeDir makes the directories for a file of ours that are missing.
func (p *Plan) makeDir(file string) error {
	host, err := p.lies(file)
	if err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(host), 0o755) //nolint:gosec // Of a configuration that everyone may read.
}

// put writes a whole file with its attributes, or leaves the old one.
func (s *spot) put(text []byte, a attributes) error {
	f, err := renameio.NewPendingFile(s.path(), renameio.WithTempDir(s.held()), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := a.give(f.File); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncDir(s.held())
}

// give gives the attributes to a file: the owner first, because a change of owner
// removes the set-id bits; the ACL last, because chmod changes its mask.
func (a attributes) give(f *os.File) error {
	if os.Geteuid() != a.UID || os.Getegid() != a.GID {
		if err := f.Chown(a.UID, a.GID); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(f.Fd()), a.Mode); err != nil {
		return err
	}
	for name, value := range a.Xattrs {
		if err := unix.Fsetxattr(int(f.Fd()), name, value, 0); err != nil {
			return fmt.Errorf("setting its %s: %w", name, err)
		}
	}
	return nil
}

// syncDir waits until the disk has the names in a directory, so that a power cut does
// not undo them.
func syncDir(host string) error {
	dir, err := os.Open(host)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
