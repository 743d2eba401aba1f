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
	"github.com/google/go-cmp/cmp/cmpopts"
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
	return &disk{dir: directory{d}}
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
	s, damage, err := openDisk(t, dir).load()
	if err != nil || damage != nil {
		t.Fatalf("loading: %v, %v", err, damage)
	}
	return rulesIn(s)
}

// openDamaged opens a directory whose newest state is damaged, which must be said,
// with what it goes on from, and returns where that is kept.
func openDamaged(t *testing.T, dir, from string) (s *Store, aside string) {
	t.Helper()
	s, damage, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, fileName+".damaged-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("set aside: %v, %v", found, err)
	}
	if want := "it was damaged; it is kept as " + found[0] + ", and netwatch " + from; damage == nil ||
		!strings.Contains(damage.Error(), want) {
		t.Errorf("it says %v, want %s", damage, want)
	}
	return s, found[0]
}

func rulesIn(s *State) []string { return slices.Sorted(maps.Keys(s.Runs)) }

// What a kill or a power cut can leave, at each step of a write: the newest state is
// what it was or what it was to be, and the next write does not mind the rest.
func TestCrashAtAnyStep(t *testing.T) {
	text := func(rule string) []byte {
		t.Helper()
		text, err := encode(with(rule))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	oldest, older, newer := text("oldest"), text("older"), text("newer")
	for name, c := range map[string]struct {
		newest, before, next []byte
		want                 string
	}{
		"nothing is there yet":           {nil, nil, newer[:len(newer)/2], ""},
		"nothing but the next":           {nil, nil, newer, ""},
		"the next is empty":              {older, oldest, []byte{}, "older"},
		"the next is torn":               {older, oldest, newer[:len(newer)/2], "older"},
		"the next is whole":              {older, oldest, newer, "older"},
		"the one before is gone":         {older, nil, newer, "older"},
		"it is gone, and the next torn":  {older, nil, newer[:len(newer)/2], "older"},
		"the newest has two names":       {older, older, newer, "older"},
		"the next is the newest":         {newer, older, nil, "newer"},
		"the newest lost its name":       {nil, older, newer, "older"},
		"the one before is torn":         {newer, older[:len(older)/2], nil, "newer"},
		"the one before is all there is": {nil, older, nil, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string][]byte{fileName: c.newest, beforeName: c.before, nextName: c.next} {
				if text == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want := strings.Fields(c.want)
			if diff := cmp.Diff(want, rulesOf(t, dir), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			s := open(t, dir)
			change(t, s, "zzz")
			if diff := cmp.Diff(append(want, "zzz"), rulesOf(t, dir)); diff != "" {
				t.Errorf("after a write: %s", diff)
			}
			shut(t, s)
			if _, err := os.Lstat(filepath.Join(dir, nextName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the next is left: %v", err)
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

// A damaged newest state is answered by the one before, whose runs are done once more
// rather than forgotten, and the last write is all that is lost.
func TestDamagedIsAnsweredByTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	d, s := openDisk(t, dir), empty()
	for _, rule := range []string{"a", "b", "c"} {
		s.Accept(event(), []string{rule})
		if err := d.write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, aside := openDamaged(t, dir, "goes on from the one before")
	if text, err := os.ReadFile(aside); err != nil || string(text) != "{" {
		t.Errorf("set aside: %q, %v", text, err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, rulesIn(store.Get())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, rulesOf(t, dir)); diff != "" {
		t.Errorf("killed before it has written: %s", diff)
	}
	change(t, store, "q")
	shut(t, store)
	if diff := cmp.Diff([]string{"a", "b", "q"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// Where both are damaged, netwatch begins from the present.
func TestBothAreDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	change(t, s, "r")
	shut(t, s)
	for _, name := range []string{fileName, beforeName} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ = openDamaged(t, dir, "begins from the present")
	if len(s.Get().Runs) != 0 {
		t.Errorf("runs: %v", s.Get().Runs)
	}
	change(t, s, "q")
	shut(t, s)
	if diff := cmp.Diff([]string{"q"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// What cannot be kept as the one before keeps no newer one from being written.
func TestBeforeInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, beforeName, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	change(t, s, "r")
	change(t, s, "q")
	if u := s.Unwritten(); u != nil {
		t.Errorf("at risk: %+v", u)
	}
	shut(t, s)
	if diff := cmp.Diff([]string{"q", "r"}, rulesOf(t, dir)); diff != "" {
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
	s := with("a", "b", `q"uote`, "gerät\n", noSum, "\xff")
	s.Accept(netwatch.NewEvent("x", noSum, map[string]string{"new": `"runs":null`, "sum": noSum, "old": "<\u2028>"}),
		[]string{"a", "c"})
	s.Change("a")
	s.Failures[`"runs":null`] = Failure{Step: noSum}
	for round := range 3 {
		text, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		got := decode(text)
		if _, after, _ := bytes.Cut(text, []byte(`"sum": "`)); got == nil || bytes.HasPrefix(after, []byte(noSum)) {
			t.Fatalf("it is no state with a sum:\n%s", text)
		}
		want, _ := json.Marshal(s)
		want = bytes.ReplaceAll(want, []byte(`\ufffd`), []byte("\ufffd")) // No text has "\xff"
		if has, _ := json.Marshal(got); string(has) != string(want) {
			t.Errorf("it has\n%s\nand should\n%s", has, want)
		}
		s.End("b", ids(s.Runs["b"].Events))
		s.Accept(event(), []string{fmt.Sprint(round)})
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

// written is a disk with both files, and its state, which has the rule a.
func written(t *testing.T) (dir string, d *disk, s *State) {
	t.Helper()
	dir = t.TempDir()
	d, s = openDisk(t, dir), with("a")
	for range 2 {
		if err := d.write(s); err != nil {
			t.Fatal(err)
		}
	}
	return dir, d, s
}

// What comes after a write that failed is there after a kill, as soon as it is told
// of: nothing of the failed one stands between. What failed may be there.
func TestKilledAfterARefusal(t *testing.T) {
	for name, prepare := range map[string]func(d *disk) error{
		"there": func(*disk) error { return nil },
		"gone":  func(d *disk) error { return os.Remove(d.path(fileName)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, d, s := written(t)
			if err := prepare(d); err != nil {
				t.Fatal(err)
			}
			well := d.dir
			d.dir = unsyncable(t, well)
			next := func(rule string) error {
				s = s.clone()
				s.Accept(event(), []string{rule})
				return d.write(s)
			}
			for _, rule := range []string{"first", "second"} {
				if next(rule) == nil {
					t.Fatal("it was not refused")
				}
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
			dir, d, s := written(t)
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
func unsyncable(t *testing.T, dir Directory) Directory {
	t.Helper()
	fd, err := unix.Open(dir.Name(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), dir.Name())
	t.Cleanup(func() { _ = file.Close() })
	return directory{file}
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
		for _, at := range []string{nextName, beforeName} {
			t.Run(name+" at "+at, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir)
				change(t, s, "a")
				shut(t, s)
				next := filepath.Join(dir, at)
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
			s, _ := openDamaged(t, dir, "begins from the present")
			if len(s.Get().Runs) != 0 {
				t.Errorf("runs: %v", s.Get().Runs)
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
	s, _ = openDamaged(t, dir, "goes on from the one before")
	if diff := cmp.Diff([]string{"rule-a"}, rulesIn(s.Get())); diff != "" {
		t.Error(diff)
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
