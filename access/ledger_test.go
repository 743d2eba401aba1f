package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
)

// him is a user whom nobody here is.
var him = User{UID: 61007, GID: 61007}

// A scene is a closed directory with a closed file in it, and a ledger.
type scene struct {
	*testing.T
	dir, file string
	Ledger
}

func newScene(t *testing.T) *scene {
	t.Helper()
	top := t.TempDir()
	s := &scene{T: t, dir: top + "/closed", file: top + "/closed/file"}
	s.must(os.Chmod(filepath.Dir(top), 0o755))
	s.must(os.Chmod(top, 0o755))
	s.must(os.Mkdir(s.dir, 0o700))
	s.must(os.WriteFile(s.file, nil, 0o600))
	s.File = top + "/record"
	s.Put = func(text string) error {
		if text == "" {
			return os.Remove(s.File)
		}
		return os.WriteFile(s.File, []byte(text), 0o600)
	}
	return s
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// acl is the list of a file or directory, less its owner.
func (s *scene) acl(path string) string {
	s.Helper()
	var st unix.Stat_t
	s.must(unix.Lstat(path, &st))
	l, err := listOf(path, st.Mode)
	s.must(err)
	return strings.ReplaceAll(l.text(), "61007", "HIM")
}

// apply wants these lines of rights and errors, with DIR for the directory.
func (s *scene) apply(u User, needs []Need, want ...string) {
	s.Helper()
	rights, errs := s.Apply(u, needs)
	var got []string
	for _, r := range rights {
		got = append(got, fmt.Sprintf("%s %s %s", r.Path, r.Perm, r.Outcome))
	}
	for _, err := range errs {
		got = append(got, err.Error())
	}
	text := strings.ReplaceAll(strings.Join(got, "\n"), filepath.Dir(s.dir), "TOP")
	if text != strings.Join(want, "\n") {
		s.Errorf("it says\n%s\nwant\n%s", text, strings.Join(want, "\n"))
	}
}

func (s *scene) want(path, acl string) {
	s.Helper()
	if got := s.acl(path); got != acl {
		s.Errorf("%s has %s, want %s", path, got, acl)
	}
}

func (s *scene) closed() {
	s.Helper()
	s.want(s.dir, "g:: o::")
	s.want(s.file, "g:: o::")
}

// checkRead is whether a user can go the way to a file, and read it.
func checkRead(t *testing.T, u User, file string) error {
	t.Helper()
	w, err := Walk(file)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.CheckRead(u)
}

// What is needed is given, once, and taken back.
func TestApply(t *testing.T) {
	s := newScene(t)
	watch, read := []Need{{s.file, true}}, []Need{{s.file, false}}
	put := s.Put
	s.Put = nil
	s.apply(him, watch, "TOP/closed r-x changed", "TOP/closed/file r-- changed")
	s.closed()
	s.Put = put
	for _, outcome := range []string{"changed", "unchanged"} {
		s.apply(him, watch, "TOP/closed r-x "+outcome, "TOP/closed/file r-- "+outcome)
		s.want(s.dir, "u:HIM:rx g:: m::rx o::")
		s.want(s.file, "u:HIM:r g:: m::r o::")
	}
	if err := checkRead(t, him, s.file); err != nil {
		t.Error(err)
	}
	if checkRead(t, User{UID: 61008}, s.file) == nil {
		t.Error("another may read it too")
	}
	s.apply(him, read, "TOP/closed --x changed", "TOP/closed/file r-- unchanged")
	s.want(s.dir, "u:HIM:x g:: m::x o::")
	s.apply(him, nil, "TOP/closed  changed", "TOP/closed/file  changed")
	s.closed()
	if _, err := os.Stat(s.File); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is still a record: %v", err)
	}
	s.apply(him, nil)
}

// What others do to the file meanwhile is put right, and theirs left alone.
func TestApplyAgain(t *testing.T) {
	s := newScene(t)
	needs := []Need{{s.file, false}}
	s.apply(him, needs, "TOP/closed --x changed", "TOP/closed/file r-- changed")
	s.must(os.Remove(s.file)) // An atomic rewrite
	s.must(os.WriteFile(s.file, nil, 0o640))
	s.must(os.Chmod(s.file, 0o640))
	s.apply(him, needs, "TOP/closed --x unchanged", "TOP/closed/file r-- changed")
	s.must(os.Chmod(s.file, 0o600))
	s.apply(him, needs, "TOP/closed --x unchanged", "TOP/closed/file r-- changed")
	s.want(s.file, "u:HIM:r g:: m::r o::")
	s.must(os.Chmod(s.file, 0o644)) // Whoever may read it anyway needs nothing
	s.must(os.Chmod(s.dir, 0o755))
	s.apply(him, needs, "TOP/closed  changed", "TOP/closed/file  changed")
	s.want(s.dir, "g:: o::rx")
}

// An entry that an administrator made is his.
func TestApplyNotOurs(t *testing.T) {
	s := newScene(t)
	for path, p := range map[string]perm{s.dir: maySearch, s.file: mayRead} {
		l, err := modeList(0o700).with(uint32(him.UID), p)
		s.must(err)
		s.must(unix.Setxattr(path, Xattr, l.value(), 0))
	}
	s.apply(him, []Need{{s.file, true}}, "TOP/closed r-x changed")
	s.apply(him, nil, "TOP/closed  changed")
	s.want(s.dir, "u:HIM:x g:: m::rx o::")
	s.want(s.file, "u:HIM:r g:: m::r o::")
}

// Over symlinks all directories are opened, those with a symlink in them to be
// watched; what is not there yet is waited for where it will be.
func TestApplyOverLinks(t *testing.T) {
	s := newScene(t)
	top := filepath.Dir(s.dir)
	s.must(os.Mkdir(top+"/links", 0o700))
	s.must(os.Symlink("../links/dir/file", top+"/links/to"))
	s.must(os.Symlink(s.dir+"/../closed/.", top+"/links/dir"))
	both := []Need{{top + "/links/to", true}, {s.file, false}}
	s.apply(him, both, "TOP/closed r-x changed", "TOP/closed/file r-- changed", "TOP/links r-x changed")
	s.must(os.Remove(s.file))
	s.apply(him, both[:1], "TOP/closed r-x unchanged", "TOP/links r-x unchanged")
	s.must(os.Remove(top + "/links/dir"))
	s.apply(him, both[:1], "TOP/closed  changed", "TOP/links r-x unchanged")
}

// What cannot be opened opens nothing, and keeps nothing else closed.
func TestApplyRefuses(t *testing.T) {
	s := newScene(t)
	s.must(os.Mkdir(s.dir+"/directory", 0o700))
	s.must(unix.Mkfifo(s.dir+"/pipe", 0o600))
	s.must(os.Symlink("loop", s.dir+"/loop"))
	s.apply(him, []Need{
		{s.dir + "/directory", false},
		{s.dir + "/pipe", false},
		{s.dir + "/loop", false},
		{s.file + "/x", false},
	},
		"letting the user read TOP/closed/directory: it is not a regular file",
		"letting the user read TOP/closed/pipe: it is not a regular file",
		"letting the user read TOP/closed/loop: too many levels of symbolic links",
		"letting the user read TOP/closed/file/x: not a directory")
	s.closed()
	masked := list{
		{ownerEntry, 6, noID},
		{userEntry, 4, 61008},
		{groupEntry, 4, noID},
		{maskEntry, 0, noID},
		{otherEntry, 0, noID},
	}
	s.must(os.WriteFile(s.dir+"/masked", nil, 0o600))
	s.must(unix.Setxattr(s.dir+"/masked", Xattr, masked.value(), 0))
	s.apply(him, []Need{{s.dir + "/masked", true}, {s.file, false}}, "TOP/closed --x changed",
		"TOP/closed/file r-- changed",
		"letting the user read TOP/closed/masked: opening TOP/closed/masked: "+errMasked.Error())
}

// Nothing is open that is not in the record.
func TestApplyRecord(t *testing.T) {
	s := newScene(t)
	needs := []Need{{s.file, false}}
	put := s.Put
	s.Put = func(string) error { return errors.New("the disk is full") }
	s.apply(him, needs, "writing the record of what is opened: the disk is full")
	s.closed()
	first := func(check func()) func(string) error {
		once := sync.OnceFunc(check)
		return func(text string) error {
			once()
			return put(text)
		}
	}
	s.Put = first(s.closed)
	s.apply(him, needs, "TOP/closed --x changed", "TOP/closed/file r-- changed")
	s.Put = first(func() {
		s.want(s.file, "u:HIM:r g:: m::r o::")
		if r, err := s.read(); len(r.Given) != 2 || err != nil {
			t.Errorf("before it is taken back the record is %v, %v", r, err)
		}
	})
	s.apply(him, nil, "TOP/closed  changed", "TOP/closed/file  changed")
	s.closed()

	s.must(os.WriteFile(s.File, []byte("no record"), 0o600))
	rights, errs := s.Apply(him, needs)
	if len(rights) > 0 || len(errs) != 1 || !strings.HasPrefix(netwatch.Hint(errs[0]), "remove "+s.File) {
		t.Errorf("of a damaged record it says %v, %v", rights, errs)
	}
	s.closed()
}

// A user of the same name may be another, as after a purge.
func TestApplyAnotherUser(t *testing.T) {
	s := newScene(t)
	s.apply(User{UID: 61008}, []Need{{s.file, false}}, "TOP/closed --x changed", "TOP/closed/file r-- changed")
	s.apply(him, []Need{{s.file, false}}, "TOP/closed  changed", "TOP/closed --x changed", "TOP/closed/file  changed",
		"TOP/closed/file r-- changed")
	s.want(s.file, "u:HIM:r g:: m::r o::")
	if rights, errs := s.Revoke(); len(rights) != 2 || errs != nil {
		t.Errorf("%v %v", rights, errs)
	}
	s.closed()
}

// While something is in the way that is no directory, what was given above it stays.
func TestApplyWhileTheWayIsNone(t *testing.T) {
	s := newScene(t)
	top := filepath.Dir(s.dir)
	s.must(os.Chmod(top, 0o700))
	needs := []Need{{s.file, false}}
	s.apply(him, needs, "TOP --x changed", "TOP/closed --x changed", "TOP/closed/file r-- changed")
	s.must(os.Rename(s.dir, s.dir+"-away"))
	s.must(os.WriteFile(s.dir, nil, 0o600))
	s.apply(him, needs, "letting the user read TOP/closed/file: not a directory")
	s.want(top, "u:HIM:x g:: m::x o::")
}

// To notice another file takes reading the directory that holds its name, also while there
// is none, and none above it.
func TestApplyToWatch(t *testing.T) {
	s := newScene(t)
	s.must(os.Chmod(filepath.Dir(s.dir), 0o700))
	s.apply(him, []Need{{s.file, true}}, "TOP --x changed", "TOP/closed r-x changed", "TOP/closed/file r-- changed")
	s.apply(him, nil, "TOP  changed", "TOP/closed  changed", "TOP/closed/file  changed")
	s.apply(him, []Need{{s.file + "s", true}}, "TOP --x changed", "TOP/closed r-x changed")
}

// Behind a symlink or in another's place there is nothing to take back.
func TestRevokeElsewhere(t *testing.T) {
	s := newScene(t)
	s.apply(him, []Need{{s.file, false}}, "TOP/closed --x changed", "TOP/closed/file r-- changed")
	s.must(os.Rename(s.dir, s.dir+"-away"))
	s.must(os.Symlink("closed-away", s.dir))
	if rights, errs := s.Revoke(); rights != nil || errs != nil {
		t.Errorf("%v %v", rights, errs)
	}
	s.want(s.dir+"-away/file", "u:HIM:r g:: m::r o::")
}

// TestOver is who decides where a way leads.
func TestOver(t *testing.T) {
	const dir, link = unix.S_IFDIR, unix.S_IFLNK
	root, alice := leaders{}, leaders{uid: 1}
	with := func(mode uint32, more ...entry) list {
		l := modeList(mode).put(entry{maskEntry, 7, noID})
		for _, e := range more {
			l = l.put(e)
		}
		return l
	}
	for name, c := range map[string]struct {
		stat unix.Stat_t
		list list
		from leaders
		want leaders
	}{
		"root's directory":              {unix.Stat_t{Mode: dir | 0o755}, nil, root, root},
		"root's link":                   {unix.Stat_t{Mode: link | 0o777}, nil, root, root},
		"root's, all may add":           {unix.Stat_t{Mode: dir | unix.S_ISVTX | 0o777}, nil, root, root},
		"root's, a group may change":    {unix.Stat_t{Mode: dir | 0o775, Gid: 5}, nil, root, leaders{others: true}},
		"root's, the group root may":    {unix.Stat_t{Mode: dir | 0o775}, nil, root, root},
		"root's, all may change":        {unix.Stat_t{Mode: dir | 0o757}, nil, root, leaders{others: true}},
		"alice's directory":             {unix.Stat_t{Mode: dir | 0o770, Uid: 1}, nil, root, alice},
		"alice's link":                  {unix.Stat_t{Mode: link | 0o777, Uid: 1}, nil, root, alice},
		"from alice to root":            {unix.Stat_t{Mode: dir | 0o755}, nil, alice, alice},
		"from alice to bob":             {unix.Stat_t{Mode: dir | 0o755, Uid: 2}, nil, alice, leaders{1, true}},
		"root's, alice may by the list": {unix.Stat_t{Mode: dir | 0o770}, with(0o700, entry{userEntry, 7, 1}), root, alice},
		"root's, alice and bob may": {
			unix.Stat_t{Mode: dir | 0o770},
			with(0o700, entry{userEntry, 7, 1}, entry{userEntry, 3, 2}), root,
			leaders{1, true},
		},
		"root's, a named group may": {
			unix.Stat_t{Mode: dir | 0o770},
			with(0o700, entry{namedGroup, 7, 9}), root,
			leaders{others: true},
		},
		"root's, the group root may by the list": {
			unix.Stat_t{Mode: dir | 0o770, Gid: 5},
			with(0o700, entry{namedGroup, 7, 0}), root, root,
		},
		"root's, alice may look": {unix.Stat_t{Mode: dir | 0o750}, with(0o700, entry{userEntry, 5, 1}), root, root},
		"root's, alice may but the mask": {
			unix.Stat_t{Mode: dir | 0o750},
			with(0o700, entry{userEntry, 7, 1}, entry{maskEntry, 5, noID}), root, root,
		},
	} {
		l := c.list
		if l == nil {
			l = modeList(c.stat.Mode)
		}
		if got := c.from.through(&c.stat, l); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, c := range map[string]struct {
		leaders leaders
		uid     uint32
		well    bool
	}{
		"root's": {root, 0, true}, "alice's": {root, 1, true}, "alice leads to her own": {
			alice, 1,
			true,
		}, "alice leads to root's": {alice, 0, false},
		"alice leads to bob's": {alice, 2, false}, "several": {
			leaders{1, true},
			1,
			false,
		}, "all": {leaders{0, true}, 0, false},
	} {
		if err := (&place{leaders: c.leaders, stat: unix.Stat_t{Uid: c.uid}}).check(); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A way that never seems to end does, before it costs much.
func TestWalkEnds(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("./", 20) + strings.Repeat("../"+filepath.Base(dir)+"/", 30)
	for i := range 30 {
		if err := os.Symlink(long+fmt.Sprint(i+1), filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Walk(dir + "/0"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("it says %v", err)
	}
}

// The root directory is no file, and on no way to one.
func TestWalkOfTheRoot(t *testing.T) {
	if _, err := Walk("/"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("it says %v", err)
	}
	if _, _, err := ByRoot("/"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("it says %v", err)
	}
}
