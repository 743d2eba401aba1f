package machine

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netwatch"
)

// A Tree is the directory that counts as the root of the file system: "/", or a
// copy of a machine. All names in it are absolute, and symlinks in it stay in it.
type Tree string

// MaxFile is the size of the largest file that is read: 1 MiB.
const MaxFile = 1 << 20

// Resolve is the name of a file in the tree after all symlinks. A file that does not
// exist has one too.
func (t Tree) Resolve(name string) (string, error) {
	return t.Follow(name, func(netwatch.Hop) error { return nil })
}

// Follow is Resolve that tells look of each hop first; an error of look ends it.
func (t Tree) Follow(name string, look func(netwatch.Hop) error) (string, error) {
	place, left, err := netwatch.Hops(string(t), name, look)
	missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
	if missing && !slices.Contains(left, "..") { // Nobody knows what that is above
		place, err = path.Join(place, path.Join(left...)), nil
	}
	return t.Host(place), err
}

// Host is the name by which the kernel knows a name of the tree. Symlinks are not
// followed.
func (t Tree) Host(name string) string { return filepath.Join(string(t), name) }

// name is the inverse of Host.
func (t Tree) name(host string) string {
	return path.Join("/", strings.TrimPrefix(host, filepath.Clean(string(t))))
}

// Read reads a regular file of the tree.
func (t Tree) Read(name string) ([]byte, error) {
	host, err := t.Resolve(name)
	if err != nil {
		return nil, err
	}
	return netwatch.ReadRegular(host, MaxFile)
}

// Has says whether a name leads to a file that exists.
func (t Tree) Has(name string) bool {
	host, err := t.Resolve(name)
	if err != nil {
		return false
	}
	_, err = os.Lstat(host)
	return err == nil
}

// Glob lists the names that fit a pattern (path.Match), sorted. A directory that may
// not be read counts as empty.
func (t Tree) Glob(pattern string) []string {
	found, _ := filepath.Glob(t.Host(pattern)) // Our patterns are right
	for i := range found {
		found[i] = t.name(found[i])
	}
	return found
}

// isDir says whether a name leads to a directory.
func (t Tree) isDir(name string) bool {
	host, err := t.Resolve(name)
	if err != nil {
		return false
	}
	info, err := os.Lstat(host)
	return err == nil && info.IsDir()
}

// open says whether everyone may read a file: search all directories on the way to it,
// through all links, and read itself.
func (t Tree) open(name string) bool {
	host, _, err := netwatch.Hops(string(t), name, func(h netwatch.Hop) error {
		dir, err := os.Lstat(t.Host(h.Dir))
		if err == nil && dir.Mode()&0o001 == 0 && h.Dir != "/" {
			err = fs.ErrPermission
		}
		return err
	})
	if err != nil {
		return false
	}
	info, err := os.Lstat(t.Host(host))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0
}
