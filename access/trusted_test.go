package access

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Owners and groups are those of files that root would have to make, so they
// are given as they would be read.
func TestTrusted(t *testing.T) {
	const file = unix.S_IFREG
	me := uint32(os.Geteuid())
	for name, c := range map[string]struct {
		mode     uint32
		uid, gid uint32
		want     string
	}{
		"root's":            {file | 0o755, 0, 0, ""},
		"mine":              {file | 0o755, me, 7, ""},
		"another's":         {file | 0o755, me + 4711, 0, "user " + strconv.Itoa(int(me)+4711) + " owns it"},
		"another's link":    {unix.S_IFLNK | 0o777, me + 4711, 0, "owns it"},
		"a link":            {unix.S_IFLNK | 0o777, 0, 0, ""},
		"root's group":      {file | 0o775, 0, 0, ""},
		"another group":     {file | 0o775, 0, 50, "group 50 may write"},
		"sticky":            {unix.S_IFDIR | unix.S_ISVTX | 0o777, 0, 0, ""},
		"directory":         {unix.S_IFDIR | 0o777, 0, 0, "everyone may write"},
		"file with sticky":  {file | unix.S_ISVTX | 0o777, 0, 0, "everyone may write"},
		"another's, sticky": {unix.S_IFDIR | unix.S_ISVTX | 0o777, me + 4711, 0, "owns it"},
	} {
		p := place{path: "/x", stat: unix.Stat_t{Mode: c.mode, Uid: c.uid, Gid: c.gid}}
		err := p.trusted()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Every place on the way counts, and what is not there is said.
func TestCheckTrusted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	program := filepath.Join(dir, "program")
	for _, err := range []error{
		os.Mkdir(dir, 0o755), os.WriteFile(program, nil, 0o755), os.Symlink("loop", dir+"/loop"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wants := func(program, want string) {
		t.Helper()
		err := CheckTrusted(program)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
	}
	wants(program, "")
	wants(program+"s", program+"s does not exist")
	wants(dir+"/loop", "too many symlinks")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	wants(program, dir+" is not safe to run: everyone may write to it")
}
