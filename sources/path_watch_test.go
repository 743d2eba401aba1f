package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"netwatch"
)

// TestHops wants that the way ends where the kernel ends it, and that whatever
// change makes the path lead to something else is a change of one of the hops.
func TestHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top, err := os.MkdirTemp("", "hops")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(top)
		root, err := filepath.EvalSymlinks(top)
		if err == nil {
			root += "/1/2/3/4/5/6" // symlinks with ".." lead no farther out
			err = os.MkdirAll(root, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(t, "entries") {
			disturb(t, root)
		}
		path := root + "/" + relative(t)
		seen := map[hop]bool{}
		end, err := hops(path, func(h hop) { seen[h] = true })
		want, wantErr := filepath.EvalSymlinks(path)
		if (err == nil) != (wantErr == nil) || err == nil && end != want {
			t.Fatalf("%s leads to %s, %v; to the kernel to %s, %v", path, end, err, want, wantErr)
		}
		before := leadsTo(path)
		changed := disturb(t, root)
		if after := leadsTo(path); after != before && !seen[changed] {
			t.Fatalf("%s was %q, and %q after a change of %v; the hops are %v", path, before, after, changed, seen)
		}
	})
}

// leadsTo is what there is to see by a path.
func leadsTo(path string) string {
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return "a directory"
	}
	return fmt.Sprintf("%s %v", text, err)
}

// disturb puts a file, a directory, a symlink or nothing at a random place below
// root that can have one, and says where.
func disturb(t *rapid.T, root string) hop {
	dir := root
	for range rapid.IntRange(0, 2).Draw(t, "depth") {
		below := dir + "/" + name(t)
		if info, err := os.Lstat(below); err == nil && info.IsDir() {
			dir = below
		}
	}
	h := hop{dir, name(t)}
	at := dir + "/" + h.name
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	var err error
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		err = os.WriteFile(at, []byte(rapid.StringN(1, 3, -1).Draw(t, "text")), 0o600)
	case 1, 2:
		err = os.Mkdir(at, 0o700)
	case 3:
		err = os.Symlink(relative(t), at)
	case 4:
		err = os.Symlink(root+"/"+relative(t), at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func name(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") }

// relative is a path of a few names, some of them "..". It is only ever read.
func relative(t *rapid.T) string {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "..", "."}), 1, 4).Draw(t, "names")
	return strings.Join(names, "/")
}

// More hops than the kernel takes are a mistake to it, and to us.
func TestSymlinkLoop(t *testing.T) {
	dir := t.TempDir()
	for i := range maxSymlinks + 1 {
		check(t, os.Symlink(fmt.Sprint(i+1), fmt.Sprintf("%s/%d", dir, i)))
	}
	write(t, fmt.Sprintf("%s/%d", dir, maxSymlinks+1), "")
	for first, want := range map[int]error{0: unix.ELOOP, 1: nil} {
		path := fmt.Sprintf("%s/%d", dir, first)
		_, err := hops(path, func(hop) {})
		if _, kernel := os.Stat(path); !errors.Is(err, want) || !errors.Is(kernel, want) {
			t.Errorf("from %d: %v, of the kernel %v", first, err, kernel)
		}
	}
}

// blindly is a follower of one file in a synctest bubble. Its inotify is fake:
// open is all that it does. Nothing is ever told, only time passes.
func blindly(l *ledger, s Settings, open error) *follower {
	f := l.follower(s, "file")
	f.watch.open = func() (*fsnotify.Watcher, error) {
		return &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}, open
	}
	f.watch.add = func(*fsnotify.Watcher, string) error { return nil }
	f.watch.shut = func(*fsnotify.Watcher) error { return nil }
	return f
}

// What the kernel does not tell is seen within a minute, or sooner where it
// cannot tell. The errors are fake: the limits are the whole machine's.
func TestPoll(t *testing.T) {
	for _, test := range []struct {
		name      string
		open, add error
		within    time.Duration
		trouble   string
	}{
		{"silence", nil, nil, time.Minute, ""},
		// What cannot be watched is looked at more often.
		{"no inotify instance", unix.EMFILE, nil, 5 * time.Second, "making an inotify instance: too many open files; files are looked at every 5s instead\nhint: allow more inotify instances: sysctl fs.inotify.max_user_instances=512"},
		{"no inotify watch", nil, unix.ENOSPC, 5 * time.Second, "watching directories: the limit of inotify watches is reached; files are looked at every 5s instead\nhint: allow more of them: sysctl fs.inotify.max_user_watches=524288"},
		{"unreadable", nil, unix.EACCES, 5 * time.Second, "watching DIR: permission denied; files are looked at every 5s instead\nhint: let the user that runs netwatch read that directory, as `netwatch grant` does for what source.file names"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := t.TempDir() + "/file"
			write(t, file, "old")
			synctest.Test(t, func(t *testing.T) {
				l := newLedger()
				f := blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, test.open)
				f.watch.add = func(*fsnotify.Watcher, string) error { return test.add }
				l.start(t, f)
				synctest.Wait()
				write(t, file, "new")
				time.Sleep(test.within - time.Second)
				synctest.Wait()
				l.none(t)
				time.Sleep(time.Second + confirmTime)
				synctest.Wait()
				if ev := <-l.accepted; ev.Fields["new"] != netwatch.Fingerprint([]byte("new")) {
					t.Error(ev)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				l.none(t)
				trouble := ""
				if err := f.Trouble(); err != nil {
					trouble = strings.ReplaceAll(err.Error(), filepath.Dir(file), "DIR")
				}
				if trouble != test.trouble {
					t.Error(trouble)
				}
				if n := l.log.lines(); n > 1 || n == 0 && test.trouble != "" {
					t.Errorf("%d lines are logged:\n%s", n, l.log.String())
				}
			})
		})
	}
}

// What happens to other names in the same directories wakes nobody.
func TestUnrelated(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/file"
	write(t, file, "old")
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		f := blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, nil)
		l.start(t, f)
		synctest.Wait()
		for _, test := range []struct {
			name  string
			looks int
		}{{"/other", 0}, {"/file.tmp", 0}, {"/file", 1}, {"", 1}} {
			before := len(l.sights)
			f.watch.notify.Events <- fsnotify.Event{Name: dir + test.name, Op: fsnotify.Write}
			time.Sleep(2 * quietTime)
			if looks := len(l.sights) - before; looks != test.looks {
				t.Errorf("%q: %d looks", test.name, looks)
			}
		}
	})
}

// A lost event is a reason to look, and inotify that ends is the end of Run.
func TestInotifyErrors(t *testing.T) {
	for _, test := range []struct {
		say  error
		want string
	}{
		{fsnotify.ErrEventOverflow, ""},
		{unix.EINVAL, ""},
		{unix.EIO, "reading from inotify: input/output error"},
		{nil, "inotify was closed"},
	} {
		file := t.TempDir() + "/file"
		write(t, file, "old")
		synctest.Test(t, func(t *testing.T) {
			l := newLedger()
			f := blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, nil)
			done := make(chan error, 1)
			go func() { done <- f.Run(t.Context(), l.emit) }()
			synctest.Wait()
			write(t, file, "new")
			notify := f.watch.notify
			if test.say == nil {
				close(notify.Errors)
			} else {
				notify.Errors <- test.say
			}
			if test.want != "" {
				if err := <-done; err == nil || err.Error() != test.want {
					t.Error(err)
				}
				return
			}
			began := time.Now()
			<-l.accepted
			if took := time.Since(began); took != quietTime+confirmTime {
				t.Errorf("seen after %s", took)
			}
		})
	}
}

// More events than the kernel keeps, while none is taken: what is lost among
// them is found nevertheless.
func TestOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	check(t, err)
	var most int
	_, err = fmt.Sscan(string(text), &most)
	check(t, err)
	dir, l := t.TempDir(), newLedger()
	file := dir + "/file"
	write(t, file, "old")
	f := l.follower(&File{Files: []netwatch.Path{netwatch.Path(file)}}, "file")
	read, busy, free := f.read, make(chan bool), make(chan bool)
	first := true
	f.read = func(file string) (sight, error) {
		got, err := read(file)
		if first {
			first = false
			busy <- true
			<-free
		}
		return got, err
	}
	l.start(t, f)
	<-busy
	write(t, dir+"/a", "")
	write(t, dir+"/b", "")
	// Two of them in turn, as the kernel makes one of two equal events in a row;
	// and as many more as fsnotify takes at once.
	for range most/2 + 5000 {
		check(t, os.Chmod(dir+"/a", 0o600))
		check(t, os.Chmod(dir+"/b", 0o600))
	}
	replace(t, file, "two")
	free <- true
	for l.Seen(netwatch.FileChanged, file) != netwatch.Fingerprint([]byte("two")) {
		l.next(t)
	}
}
