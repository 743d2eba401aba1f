package machine

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/systemd"
)

// OfOthers says whether others than root decide what a file says, or what a directory
// has in the place of what is there now. host is its name for the kernel. A user who is
// not root goes by his own rights, whoever it is.
func OfOthers(host string) bool {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Lstat(host, &st) != nil {
		return false
	}
	open := st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 && st.Mode&unix.S_IFMT != unix.S_IFLNK
	return st.Uid != 0 || open
}

// ofOthers says that of a file with its whole way.
func (t Tree) ofOthers(name string) bool {
	others := false
	_, err := t.Follow(name, func(h netwatch.Hop) error {
		others = others || OfOthers(t.Host(h.Dir)) || OfOthers(t.Host(h.Path()))
		return nil
	})
	return others || err != nil
}

// turnByRoot is byRoot for a coturn. The command line of a process has whatever it likes
// there.
func (s *search) turnByRoot(u unit, file string) error {
	if u.run(isTurn) == nil {
		return s.looksLikeCoturns(file)
	}
	return s.byRoot(u, file, func(u unit) (string, error) { return turnFile(u.run(isTurn), s.tree.Has) })
}

// byRoot says why root is not to go by what names the file of a server: he rewrites that
// file, and what it is, others say. Such are YunoHost's options in a directory of
// Synapse's user. fileOf is the file that a unit names.
func (s *search) byRoot(u unit, file string, fileOf func(u unit) (string, error)) error {
	others := slices.DeleteFunc(slices.Clone(u.Files), func(f systemd.EnvironmentFile) bool {
		return !slices.ContainsFunc(s.filesOf(f), s.tree.ofOthers)
	})
	if len(others) == 0 {
		return nil
	}
	u.Files = slices.DeleteFunc(slices.Clone(u.Files), func(f systemd.EnvironmentFile) bool {
		return slices.Contains(others, f)
	})
	if is, err := fileOf(s.units([]systemd.Service{u.Service})[0]); err == nil && is == file {
		return nil
	}
	err := fmt.Errorf("its EnvironmentFile=%s says that it is started with %s, and others than root can write that",
		others[0].Path, file)
	return netwatch.WithHint(err, "have its ExecStart= name the file, or give the other to root alone")
}

// looksLikeCoturns is an error if a file has nothing that coturn's have.
func (s *search) looksLikeCoturns(file string) error {
	text, err := s.tree.Read(file)
	if err == nil && !hasCoturns(text) {
		err = errors.New("there is nothing of coturn's in it")
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("its main process says that it was started with %s: %w", file, netwatch.WithoutPath(err))
	return netwatch.WithHint(err, "have turnserver -c FILE in its ExecStart= if it is a coturn")
}
