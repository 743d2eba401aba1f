package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// openDisk is a disk on a directory.
func openDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &disk{dir: d}
}

// with is a state with runs of these rules, on one event each.
func with(rules ...string) *State {
	s := empty()
	for _, r := range rules {
		s.Accept(event(), []string{r})
	}
	return s
}

// rulesOf are the rules that have runs in the state of a directory.
func rulesOf(t *testing.T, dir string) []string {
	t.Helper()
	s, aside, err := openDisk(t, dir).load()
	if err != nil || aside != "" {
		t.Fatalf("loading: %v, set aside as %q", err, aside)
	}
	return rulesIn(s)
}

func rulesIn(s *State) []string { return slices.Sorted(maps.Keys(s.Runs)) }

// What a crash can leave: the next file is whole and did not get its name, or it
// is not whole, or it is what the file was before, or of another day.
func TestCrashBetweenTwoNames(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	texts := map[string][]byte{}
	sum := ""
	for _, name := range []string{"before", "file", "next", "later"} {
		s := with(name)
		s.Sum = sum
		text, err := d.text.of(s)
		if err != nil {
			t.Fatal(err)
		}
		texts[name], sum = bytes.Clone(text), s.Sum
	}
	next := texts["next"]
	other := bytes.Replace(next, []byte(`"changed":false`), []byte(`"changed":true `), 1)
	for name, c := range map[string]struct {
		next []byte
		want string
	}{
		"whole":                  {next, "next"},
		"whole, other blanks":    {append(bytes.TrimSpace(next), "\n\n"...), "next"},
		"none":                   {nil, "file"},
		"torn":                   {next[:len(bytes.TrimSpace(next))/2], "file"},
		"partly the one before":  {slices.Concat(next[:100], texts["before"][100:]), "file"},
		"JSON, but another sum":  {other, "file"},
		"the one before":         {texts["before"], "file"},
		"the same":               {texts["file"], "file"},
		"one that does not fit":  {texts["later"], "file"},
		"something of another's": {[]byte(`{"version":1}`), "file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := os.WriteFile(filepath.Join(dir, fileName), texts["file"], 0o600)
			if c.next != nil {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, nextName), c.next, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.want}, rulesOf(t, dir)); diff != "" {
				t.Error(diff)
			}
			s := open(t, dir)
			change(t, s, "zzz")
			shut(t, s)
			if diff := cmp.Diff([]string{c.want, "zzz"}, rulesOf(t, dir)); diff != "" {
				t.Errorf("after a write: %s", diff)
			}
		})
	}
}

func change(t *testing.T, s *Store, rule string) {
	t.Helper()
	if err := s.Update(func(st *State) { st.Accept(event(), []string{rule}) }); err != nil {
		t.Fatal(err)
	}
}

// After a text without a sum, as somebody made it by hand, comes none that is
// known: the first of all texts has nothing before it either.
func TestNothingIsAfterATextWithoutASum(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	first, err := d.text.of(with("first"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, nextName), first, 0o600)
	}
	byHand, _ := json.Marshal(with("hand"))
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, fileName), byHand, 0o600)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"hand"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A damaged file is not replaced by what it was before, which is out of date.
func TestDamagedBesideAWholeOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	change(t, s, "r")
	shut(t, s)
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, aside, err := Open(dir)
	if err != nil || aside == "" || len(s.Get().Runs) != 0 {
		t.Errorf("set aside as %q: %v; runs: %v", aside, err, s.Get().Runs)
	}
	change(t, s, "q")
	shut(t, s)
	if diff := cmp.Diff([]string{"q"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The next file is in the way of the user who writes: a directory, or one that is
// not his.
func TestNextInTheWay(t *testing.T) {
	dir := t.TempDir()
	next := filepath.Join(dir, nextName)
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	change(t, s, "r")
	shut(t, s)
	if err := errors.Join(os.RemoveAll(next), os.MkdirAll(filepath.Join(next, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.Update(func(*State) {}); err != nil || s.Unwritten() == nil {
		t.Errorf("with a directory in the way: %v, at risk %+v", err, s.Unwritten())
	}
	if err := os.RemoveAll(next); err != nil {
		t.Fatal(err)
	}
	change(t, s, "q")
	shut(t, s)
	if diff := cmp.Diff([]string{"q", "r"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The text is JSON that says the same as the state, whatever is in it.
func TestTextIsTheState(t *testing.T) {
	var d text
	s := with("a", "b", `q"uote`, "gerät\n", noSum)
	s.Accept(netwatch.NewEvent("x", noSum, map[string]string{"new": `"runs":null`, "sum": noSum, "old": "<\u2028>"}), []string{"a", "c"})
	s.Change("a")
	s.Failures[`"runs":null`] = Failure{Step: noSum}
	for round := range 3 {
		bytes, err := d.of(s)
		if err != nil {
			t.Fatal(err)
		}
		got := parse(bytes)
		if got == nil || len(bytes)%block != 0 || !sealed(bytes, got.Sum) {
			t.Fatalf("%d bytes that are no sealed state:\n%s", len(bytes), bytes)
		}
		got.After = s.After
		want, _ := json.Marshal(s)
		if has, _ := json.Marshal(got); string(has) != string(want) {
			t.Errorf("it has\n%s\nand should\n%s", has, want)
		}
		s.End("b", ids(s.Runs["b"].Events))
		s.Accept(event(), []string{fmt.Sprint(round)})
	}
	if n := len(d.lines); n != 7 {
		t.Errorf("%d events are remembered", n)
	}
}

// killed is what a process finds that begins when the one before it was killed
// right after it had told its caller.
func killed(t *testing.T, dir string, told *State) {
	t.Helper()
	if diff := cmp.Diff(rulesIn(told), rulesOf(t, dir)); diff != "" {
		t.Errorf("told and killed: %s", diff)
	}
}

// What is told is there after a kill, also when the file is not, or was damaged.
func TestKilledWithoutAFile(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, file string) error{
		"damaged":           func(_ *testing.T, file string) error { return os.WriteFile(file, []byte("{"), 0o600) },
		"removed":           func(_ *testing.T, file string) error { return os.Remove(file) },
		"removed meanwhile": nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			change(t, s, "old")
			shut(t, s)
			file := filepath.Join(dir, fileName)
			if prepare != nil {
				if err := prepare(t, file); err != nil {
					t.Fatal(err)
				}
			}
			d := openDisk(t, dir)
			if _, _, err := d.load(); err != nil {
				t.Fatal(err)
			}
			told := with("told")
			if prepare == nil {
				d.sure = true
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.write(told); err != nil {
				t.Fatal(err)
			}
			killed(t, dir, told)
		})
	}
}

// The next file is taken away after its caller was told and before it has the name:
// the state goes on, and what is told from then on is there.
func TestNextTakenAway(t *testing.T) {
	dir, d, s := settled(t)
	for _, rule := range []string{"b", "c"} {
		s.Accept(event(), []string{rule})
		if err := d.write(s); err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		if rule == "b" {
			if err := os.Remove(filepath.Join(dir, nextName)); err != nil {
				t.Fatal(err)
			}
		}
	}
	killed(t, dir, s)
}

// settled is a disk with both files, and its state, which has the rule a.
func settled(t *testing.T) (dir string, d *disk, s *State) {
	t.Helper()
	dir = t.TempDir()
	d, s = openDisk(t, dir), with("a")
	for range 2 {
		if err := errors.Join(d.write(s), d.settle()); err != nil {
			t.Fatal(err)
		}
	}
	return dir, d, s
}

// What comes after a write that failed is there after a kill, as soon as it is told
// of: nothing of the failed one stands between. What failed may be there.
func TestKilledAfterARefusal(t *testing.T) {
	for name, prepare := range map[string]func(d *disk) error{
		"sure":   nil,
		"unsure": func(d *disk) error { d.sure = false; return nil },
		"gone":   func(d *disk) error { return os.Remove(d.path(fileName)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, d, s := settled(t)
			if prepare != nil {
				if err := prepare(d); err != nil {
					t.Fatal(err)
				}
			}
			well := d.dir
			d.dir = unsyncable(t, well)
			next := func(rule string) error {
				s = s.clone()
				s.Accept(event(), []string{rule})
				return d.write(s)
			}
			if err := next("first"); (prepare == nil) != (err == nil) {
				t.Fatal(err)
			}
			if prepare == nil {
				killed(t, dir, s) // it was not refused: its name comes later
			}
			if next("second") == nil { // the names of the first are not on disk
				t.Fatal("it was not refused")
			}
			d.dir = well
			for _, rule := range []string{"third", "fourth"} {
				if err := next(rule); err != nil {
					t.Fatal(err)
				}
				killed(t, dir, s)
			}
		})
	}
}

// A directory that was removed and made anew, empty or with what was there before, is
// taken at the next write, with its lock, and written whole.
func TestDirectoryMadeAnew(t *testing.T) {
	for name, anew := range map[string]func(backup, dir string) error{
		"empty":    func(_, dir string) error { return os.Mkdir(dir, 0o700) },
		"restored": func(backup, dir string) error { return os.CopyFS(dir, os.DirFS(backup)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, d, s := settled(t)
			backup := t.TempDir()
			next := func(rule string) {
				t.Helper()
				s.Accept(event(), []string{rule})
				if err := d.write(s); err != nil {
					t.Fatal(err)
				}
			}
			err := os.CopyFS(backup, os.DirFS(dir))
			next("b")
			if err := errors.Join(err, remove(dir), anew(backup, dir)); err != nil {
				t.Fatal(err)
			}
			for _, rule := range []string{"c", "d"} {
				next(rule)
				killed(t, dir, s)
			}
			if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another netwatch") {
				t.Errorf("a second one on the new directory: %v", err)
			}
			if err := d.dir.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// unsyncable is the same directory, opened so that it cannot be synced (open(2),
// O_PATH).
func unsyncable(t *testing.T, dir *os.File) *os.File {
	t.Helper()
	fd, err := unix.Open(dir.Name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), dir.Name())
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// Nobody leads who writes to another file, or has him wait at a pipe.
func TestNextLeadsElsewhere(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(next string) error{
		"a symlink":   func(next string) error { return os.Symlink(victim, next) },
		"a hard link": func(next string) error { return os.Link(victim, next) },
		"a pipe":      func(next string) error { return unix.Mkfifo(next, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			change(t, s, "a")
			shut(t, s)
			next := filepath.Join(dir, nextName)
			if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := place(next); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			change(t, s, "b")
			shut(t, s)
			if diff := cmp.Diff([]string{"a", "b"}, rulesOf(t, dir)); diff != "" {
				t.Error(diff)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "secret" {
				t.Errorf("the other file is %q: %v", text, err)
			}
		})
	}
}

// What lies in place of the file and is none is set aside, and holds up nobody.
func TestNoFileIsSetAside(t *testing.T) {
	for name, place := range map[string]func(file string) error{
		"a pipe":               func(file string) error { return unix.Mkfifo(file, 0o600) },
		"a directory":          func(file string) error { return os.MkdirAll(filepath.Join(file, "full"), 0o700) },
		"a symlink":            func(file string) error { return os.Symlink("/etc/passwd", file) },
		"a symlink to nothing": func(file string) error { return os.Symlink("/nowhere", file) },
		"a symlink to itself":  func(file string) error { return os.Symlink(fileName, file) },
		"a huge file": func(file string) error {
			return errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 1<<40))
		},
		"a socket":               func(file string) error { return unix.Mknod(file, unix.S_IFSOCK|0o600, 0) },
		"a symlink to a device":  func(file string) error { return os.Symlink("/dev/zero", file) },
		"a symlink to its twin":  func(file string) error { return os.Symlink(nextName, file) },
		"a symlink to something": func(file string) error { return os.Symlink(filepath.Dir(file), file) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := place(filepath.Join(dir, fileName)); err != nil {
				t.Fatal(err)
			}
			s, aside, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(aside); err != nil || len(s.Get().Runs) != 0 {
				t.Errorf("set aside as %q: %v", aside, err)
			}
			change(t, s, "r")
			shut(t, s)
			if diff := cmp.Diff([]string{"r"}, rulesOf(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A bit that fell over is damage, though what is left is JSON.
func TestTamperedIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	change(t, s, "rule-a")
	shut(t, s)
	file := filepath.Join(dir, fileName)
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("rule-a"), []byte("rule-b"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, aside, err := Open(dir)
	if err != nil || aside == "" || len(s.Get().Runs) != 0 {
		t.Errorf("set aside as %q: %v", aside, err)
	}
	shut(t, s)
}

// A store that is closed takes nothing more, whoever comes at the same time.
func TestCloseAmongUpdates(t *testing.T) {
	for range 50 {
		dir := t.TempDir()
		s := open(t, dir)
		var wg sync.WaitGroup
		var taken atomic.Int64
		for i := range 4 {
			wg.Go(func() {
				err := s.Update(func(st *State) { st.Accept(event(), []string{fmt.Sprint(i)}) })
				if err == nil {
					taken.Add(1)
				} else if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
			})
		}
		shut(t, s)
		wg.Wait()
		if n := len(rulesOf(t, dir)); n != int(taken.Load()) {
			t.Errorf("%d were taken, and %d are there", taken.Load(), n)
		}
	}
}
