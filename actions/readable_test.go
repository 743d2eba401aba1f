package actions

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseStatus(t *testing.T) {
	got, ok := parseStatus([]byte("Name:\tturnserver\nUid:\t1\t2\t3\t110\nGid:\t4\t5\t6\t113\nFDSize:\t64\nGroups:\t113 114 \n"))
	want := reader{uid: 110, gid: 113, groups: []uint32{113, 114}, running: true}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reader{})); diff != "" || !ok {
		t.Error(diff, ok)
	}
	if _, ok := parseStatus([]byte("Name:\tturnserver\nUid:\t1\t2\t3\t110\n")); ok {
		t.Error("no Gid, no reader")
	}
}

// Coturn is known by its name and the file by whatever path.
func TestStartedWith(t *testing.T) {
	file := conf(t, "203.0.113.5")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	o, err := openOriginal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, c := range []struct {
		want bool
		args []string
	}{
		{true, []string{"/usr/bin/turnserver", "-c", file, "--pidfile="}},
		{true, []string{"turnserver", "-c", link}},
		{true, []string{"turnserver", "-c" + file}},
		{true, []string{"turnserver", "--config=" + link}},
		{false, []string{"turnserver", "-c", "/etc/passwd"}},
		{false, []string{"turnserver", "-c", file + "2"}},
		{false, []string{"turnserver"}},
		{false, []string{"vi", file}},
		{false, []string{""}},
	} {
		if got := o.startedWith(c.args); got != c.want {
			t.Errorf("%q: %v", c.args, got)
		}
	}
}

// TestPermitted is each rule of acl(5) once; that the kernel reckons alike is
// tested on real files where there is a root to be.
func TestPermitted(t *testing.T) {
	st := &unix.Stat_t{Uid: 10, Gid: 20}
	list := func(mask uint16, more ...aclEntry) []aclEntry {
		return append(append(modeEntries(0o604), aclEntry{tag: maskEntry, perm: mask}), more...)
	}
	for name, c := range map[string]struct {
		reader  reader
		entries []aclEntry
		want    bool
	}{
		"owner":                       {reader{uid: 10, gid: 1}, modeEntries(0o400), true},
		"owner, whatever others may":  {reader{uid: 10, gid: 20}, modeEntries(0o077), false},
		"group":                       {reader{uid: 1, gid: 20}, modeEntries(0o040), true},
		"group, whatever others may":  {reader{uid: 1, gid: 20}, modeEntries(0o704), false},
		"another group of his":        {reader{uid: 1, gid: 2, groups: []uint32{3, 20}}, modeEntries(0o040), true},
		"others":                      {reader{uid: 1, gid: 2}, modeEntries(0o004), true},
		"nobody":                      {reader{uid: 1, gid: 2}, modeEntries(0o770), false},
		"named":                       {reader{uid: 1, gid: 2}, list(4, aclEntry{userEntry, 4, 1}), true},
		"named, masked":               {reader{uid: 1, gid: 2}, list(3, aclEntry{userEntry, 4, 1}), false},
		"named, whatever others may":  {reader{uid: 1, gid: 2}, list(7, aclEntry{userEntry, 0, 1}), false},
		"another is named":            {reader{uid: 1, gid: 2}, list(7, aclEntry{userEntry, 0, 5}), true},
		"named group":                 {reader{uid: 1, gid: 2}, list(4, aclEntry{namedGroup, 4, 2}), true},
		"one of two groups":           {reader{uid: 1, gid: 20, groups: []uint32{3}}, list(4, aclEntry{namedGroup, 4, 3}), true},
		"named group, masked":         {reader{uid: 1, gid: 2}, list(1, aclEntry{namedGroup, 4, 2}), false},
		"owner, whatever the mask is": {reader{uid: 10, gid: 2}, list(0), true},
	} {
		if got := c.reader.permitted(c.entries, st, mayRead); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseACL(t *testing.T) {
	value := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 110, 0, 0, 0}
	want := []aclEntry{{ownerEntry, 6, 1<<32 - 1}, {userEntry, 4, 110}}
	if diff := cmp.Diff(want, parseACL(value), cmp.AllowUnexported(aclEntry{})); diff != "" {
		t.Error(diff)
	}
	for _, value := range [][]byte{nil, {2, 0}, {1, 0, 0, 0, 1, 0, 6, 0, 1, 0, 0, 0}, {2, 0, 0, 0, 1, 0}} {
		if got := parseACL(value); got != nil {
			t.Errorf("%v: %v", value, got)
		}
	}
}
