package sources

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// openDir is a new directory that every user may search.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// asNobody runs f without the rights of root, if there are any.
func asNobody(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // For ever: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			_ = unix.Setfsuid(65534)
		}
		f()
	}()
	<-done
}

// What cannot be read as a file is said at once, with its remedy, and nothing is
// waited for.
func TestNoFile(t *testing.T) {
	dir := openDir(t)
	check(t, unix.Mkfifo(dir+"/pipe", 0o600))
	check(t, os.Mkdir(dir+"/directory", 0o700))
	check(t, os.WriteFile(dir+"/secret", nil, 0))
	check(t, os.WriteFile(dir+"/large", nil, 0o644))
	check(t, os.Truncate(dir+"/large", maxFile+1))
	check(t, os.Symlink("loop", dir+"/loop"))
	for file, want := range map[string]string{
		dir + "/pipe":      "it is not a regular file (a pipe)\nhint: name a regular file of at most 4 MiB",
		"/dev/null":        "it is not a regular file (a device)\nhint: name a regular file of at most 4 MiB",
		dir + "/directory": "it is not a regular file (a directory)\nhint: name a regular file of at most 4 MiB",
		dir + "/secret":    "permission denied\nhint: " + netwatch.GrantHint,
		dir + "/large":     "it is larger than 4 MiB\nhint: name a regular file of at most 4 MiB",
		dir + "/loop":      "too many levels of symbolic links",
	} {
		asNobody(func() {
			l := newLedger()
			f := l.follower(&File{Files: []netwatch.Path{netwatch.Path(file)}}, "file")
			f.look(f.files[0], l.emit)
			if got := f.Trouble(); got == nil || said(got) != "reading "+file+": "+want {
				t.Errorf("%v", got)
			}
			f.look(f.files[0], l.emit)
			if n := l.log.lines(); n != 1 || len(l.noted) > 0 {
				t.Errorf("%d lines are logged, %v noted:\n%s", n, l.noted, l.log.String())
			}
		})
	}
}

// A file that is not there is looked for often for a while, and is a trouble
// after that: said once, and until it is back.
func TestMissing(t *testing.T) {
	file := t.TempDir() + "/file"
	write(t, file, "old")
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		f := blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, nil)
		l.start(t, f)
		synctest.Wait()
		check(t, os.Remove(file))
		time.Sleep(time.Minute + 10*time.Second - time.Millisecond)
		synctest.Wait()
		if f.Trouble() != nil || l.log.lines() > 0 {
			t.Errorf("too early: %v %s", f.Trouble(), l.log.String())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if want := "reading " + file + ": no such file or directory"; f.Trouble() == nil || f.Trouble().Error() != want ||
			l.log.lines() != 1 {
			t.Errorf("too late: %v %s", f.Trouble(), l.log.String())
		}
		looks := len(l.sights)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(l.sights) - looks; n > 60 || l.log.lines() != 1 {
			t.Errorf("%d looks an hour; log:\n%s", n, l.log.String())
		}
		write(t, file, "old")
		time.Sleep(time.Minute)
		synctest.Wait()
		l.none(t)
		if f.Trouble() != nil || !strings.Contains(l.log.String(), "well again") {
			t.Errorf("it is back: %v %s", f.Trouble(), l.log.String())
		}
		write(t, file, "new")
		if got := (<-l.accepted).Fields; got["old"] != netwatch.Fingerprint([]byte("old")) ||
			got["new"] != netwatch.Fingerprint([]byte("new")) {
			t.Error(got)
		}
	})
}

// What was not accepted is told again.
func TestRefused(t *testing.T) {
	file := t.TempDir() + "/file"
	write(t, file, "new")
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		check(t, l.See(netwatch.FileChanged, file, "old"))
		l.setRefuse(true)
		l.start(t, blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, nil))
		time.Sleep(12 * time.Second)
		if n := len(l.sights); n > 6 {
			t.Errorf("%d looks in 12 s", n)
		}
		l.setRefuse(false)
		began := time.Now()
		if got := (<-l.accepted).Fields["old"]; got != "old" || time.Since(began) > 6*time.Second {
			t.Error(got, time.Since(began))
		}
	})
}

// What netwatch notes and then writes is nobody else's, whenever it is looked
// at in between.
func TestOwnWrite(t *testing.T) {
	file := t.TempDir() + "/file"
	write(t, file, "old")
	for _, when := range []string{"before the look", "while it asks", "while it reads", "after the look"} {
		l := newLedger()
		f := l.follower(&File{Files: []netwatch.Path{netwatch.Path(file)}}, "file")
		replace(t, file, "old")
		f.look(f.files[0], l.emit)
		note := func() { l.rewrite(file, "old", "new") }
		rename := func() { replace(t, file, "new") }
		read, first := f.read, true
		f.read = func(file string) (sight, error) {
			if first && when == "while it asks" {
				note() // After the look has asked what was accepted
				rename()
			}
			got, err := read(file)
			if first && when == "while it reads" {
				note()
				rename()
			}
			first = false
			return got, err
		}
		if when == "before the look" {
			note() // The instant between the two
		}
		f.look(f.files[0], l.emit)
		switch when {
		case "before the look":
			rename()
		case "after the look":
			note()
			rename()
		}
		f.look(f.files[0], l.emit)
		f.look(f.files[0], l.emit)
		l.none(t)
	}
}

// Files with one change are told of alone.
func TestSeveralFiles(t *testing.T) {
	dir, l := t.TempDir(), newLedger()
	var files []netwatch.Path
	for _, name := range []string{"a", "b", "c"} {
		write(t, dir+"/"+name, "old")
		files = append(files, netwatch.Path(dir+"/"+name))
	}
	l.start(t, l.follower(&File{Files: files}, "file"))
	for range files {
		l.read(t, netwatch.Fingerprint([]byte("old")))
	}
	replace(t, dir+"/b", "new")
	if got := l.next(t).Fields["file"]; got != dir+"/b" {
		t.Error(got)
	}
	l.none(t)
}

// The source ends with its context, as does all that it started; and two
// sources may not watch one file.
func TestFileSettings(t *testing.T) {
	s := &File{Files: []netwatch.Path{"/a", "/a"}}
	if diff := cmp.Diff([]Mistake{{"files", 1, "/a is there twice"}}, s.Check()); diff != "" {
		t.Error(diff)
	}
	if key, values := s.Claims(); key != "files" || len(values) != 2 || values[0] != "/a" {
		t.Error(key, values)
	}
	if key, values := (&Cert{Files: s.Files}).Claims(); key != "files" || len(values) != 2 || values[0] != "/a" {
		t.Error(key, values)
	}
}

// Netwatch's own is known by where the file lies, however it is named; what
// somebody else wrote a moment before is told all the same, and what was noted
// and came to nothing is no change.
func TestOwnWriteElsewhere(t *testing.T) {
	dir := t.TempDir()
	place, alias := dir+"/file", dir+"/alias"
	link(t, "file", alias)
	l := newLedger()
	f := l.follower(&File{Files: []netwatch.Path{netwatch.Path(alias)}}, "file")
	looks := func() {
		for range 3 {
			f.look(f.files[0], l.emit)
		}
	}
	replace(t, place, "old")
	looks()
	l.rewrite(place, "old", "never")
	looks()
	l.rewrite(place, "old", "new")
	replace(t, place, "new")
	looks()
	l.none(t)
	replace(t, place, "an upgrade")
	l.rewrite(place, "an upgrade", "new again")
	replace(t, place, "new again")
	looks()
	if got := (<-l.accepted).Fields["new"]; got != netwatch.Fingerprint([]byte("new again")) {
		t.Errorf("told was %s", got)
	}
	l.none(t)
}

// A file that may not be read is one for root to open again, and is looked at when he
// has; of a certificate, whose key is never opened, he is not asked.
func TestFileIsReopened(t *testing.T) {
	l := newLedger()
	env := l.env()
	var asked []string
	env.Reopen = func(file string) time.Duration {
		asked = append(asked, file)
		return time.Millisecond
	}
	files := []netwatch.Path{"/etc/x.conf"}
	denied := func(string) (sight, error) { return sight{}, netwatch.WithHint(fs.ErrPermission, "x") }
	for _, c := range []struct {
		source netwatch.Source
		want   time.Duration
	}{
		{(&File{Files: files}).Source("file", env), time.Millisecond},
		{(&Cert{Files: files}).Source("cert", env), 0},
	} {
		f := c.source.(*follower)
		f.read = denied
		if got := f.look(f.files[0], nil); got != c.want {
			t.Errorf("%s is looked at again in %v, want %v", f.name, got, c.want)
		}
	}
	if !slices.Equal(asked, []string{"/etc/x.conf"}) {
		t.Errorf("root is asked for %v", asked)
	}
}
