package netwatch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxSymlinks is how many symlinks the kernel follows on one path
// (path_resolution(7)).
const MaxSymlinks = 40

// A Hop is one step on the kernel's way from / to a file: a name, and the directory
// in which it is looked for, without symlinks.
type Hop struct{ Dir, Name string }

// Path is where the hop leads, unless that is a symlink.
func (h Hop) Path() string { return filepath.Join(h.Dir, h.Name) }

// Hops walks along an absolute path, through all symlinks, to the file or to the
// first name that does not exist. It calls look with each hop before it looks at the
// hop itself; an error of look ends the walk. The path leads elsewhere only when one
// of these hops changes. The directory root stands for /. Hops returns where the walk
// ended and the names that were left then, and ELOOP if symlinks lead in a circle.
//
// Hops goes by names, so somebody may change what it has seen. Whoever opens a file
// on somebody else's behalf uses access.Walk, which holds each place and heeds whose
// rights count.
func Hops(root, path string, look func(Hop) error) (end string, left []string, err error) {
	dir, left := "/", names(path)
	for symlinks := 0; len(left) > 0; {
		h := Hop{dir, left[0]}
		if h.Name == "." || h.Name == ".." {
			dir, left = h.Path(), left[1:]
			continue
		}
		if err := look(h); err != nil {
			return dir, left, err
		}
		at := filepath.Join(root, h.Path())
		info, err := os.Lstat(at)
		switch {
		case err != nil:
			return dir, left, err
		case info.Mode().Type() == fs.ModeSymlink:
			if symlinks++; symlinks > MaxSymlinks {
				return dir, left, &fs.PathError{Op: "following", Path: path, Err: unix.ELOOP}
			}
			target, err := os.Readlink(at)
			if err != nil {
				return dir, left, err
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			left = append(names(target), left[1:]...)
		case len(left) > 1 && !info.IsDir():
			return dir, left, &fs.PathError{Op: "following", Path: at, Err: unix.ENOTDIR}
		default:
			dir, left = h.Path(), left[1:]
		}
	}
	return dir, nil, nil
}

// names are the names that a path is made of. A symlink's target is not cleaned:
// x/.. is not the same as nothing when x is a symlink.
func names(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" })
}
