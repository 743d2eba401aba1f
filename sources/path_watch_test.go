package sources

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"netwatch"
)

// blindly is a follower of one file in a synctest bubble. Its inotify is fake:
// open is all that it does. Nothing is ever told, only time passes.
func blindly(l *ledger, s Settings, open error) *follower {
	f := l.follower(s, "file")
	f.watch.Open = func() (*fsnotify.Watcher, error) {
		return &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}, open
	}
	f.watch.Add = func(*fsnotify.Watcher, string) error { return nil }
	f.watch.Shut = func(*fsnotify.Watcher) error { return nil }
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
		{
			"no inotify instance", unix.EMFILE, nil, 5 * time.Second,
			"making an inotify instance: too many open files; files are looked at every 5s instead\nhint: " +
				"allow more inotify instances: sysctl fs.inotify.max_user_instances=512",
		},
		{
			"no inotify watch", nil, unix.ENOSPC, 5 * time.Second,
			"watching directories: the limit of inotify watches is reached; files are looked at every 5s instead\nhint: " +
				"allow more of them: sysctl fs.inotify.max_user_watches=524288",
		},
		{
			"unreadable", nil, unix.EACCES, 5 * time.Second,
			"watching DIR: permission denied; files are looked at every 5s instead\nhint: " +
				"let the user that runs netwatch read that directory, as `netwatch grant` does for what source.file names",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := t.TempDir() + "/file"
			write(t, file, "old")
			synctest.Test(t, func(t *testing.T) {
				l := newLedger()
				f := blindly(l, &File{Files: []netwatch.Path{netwatch.Path(file)}}, test.open)
				f.watch.Add = func(*fsnotify.Watcher, string) error { return test.add }
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
					trouble = strings.ReplaceAll(said(err), filepath.Dir(file), "DIR")
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

// What cannot be watched is said alike each time, in one order.
func TestUnwatchedInOrder(t *testing.T) {
	var paths []string
	for _, name := range []string{"d", "b", "a", "c"} {
		dir := t.TempDir() + "/" + name
		check(t, os.Mkdir(dir, 0o700))
		paths = append(paths, dir+"/file")
	}
	w := newPathWatch(paths, Inotify{
		Open: func() (*fsnotify.Watcher, error) { return &fsnotify.Watcher{}, nil },
		Add:  func(*fsnotify.Watcher, string) error { return unix.EIO },
	})
	lines := strings.Split(w.arm().Error(), "\n")
	if len(lines) < len(paths) || !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Errorf("it says\n%s", strings.Join(lines, "\n"))
	}
}

// However much happens, a look comes when it is due by itself.
func TestLookIsNotPutOff(t *testing.T) {
	file := t.TempDir() + "/file"
	synctest.Test(t, func(t *testing.T) {
		notify := &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}
		w := newPathWatch([]string{file}, Inotify{})
		w.notify, w.names = notify, map[string]bool{"file": true}
		began, over := time.Now(), make(chan error)
		go func() { over <- w.wait(t.Context(), time.Minute) }()
		time.Sleep(time.Minute - quietTime)
		for {
			select {
			case notify.Events <- fsnotify.Event{Name: file, Op: fsnotify.Write}:
				time.Sleep(ms)
			case err := <-over:
				if took := time.Since(began); err != nil || took > time.Minute+ms {
					t.Errorf("after %s: %v", took, err)
				}
				return
			}
		}
	})
}
