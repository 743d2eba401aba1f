package simulate

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"netwatch"
	"netwatch/rewrite"
	"netwatch/servers"
	"netwatch/sources"
)

// A file is one of a server's. Both servers of the world are one unit, and in one rule.
type file struct {
	*World
	name, server string
	// form is its text, with a place for an address.
	form string
	text []byte // which is on a real disk too
	// mine is how netwatch made the file what it is, if it did, and written when it was last.
	mine    netwatch.Replacement
	written time.Time
	// writing is how many apps have it open.
	writing int
}

// newFiles are the files of all servers.
func newFiles(w *World) []*file {
	return []*file{
		{World: w, name: "turnserver.conf", server: "coturn", form: confText},
		{World: w, name: "livekit.yaml", server: "livekit", form: "port: 7880\nrtc:\n  node_ip: %s\n  udp_port: 7882\n"},
	}
}

// write gives it another content, and tells of it. w.mu is held.
func (f *file) write(text string) {
	f.replace(f.name, text)
	f.text, f.mine, f.written = []byte(text), netwatch.Replacement{}, time.Now()
	if l := f.life; l != nil {
		l.notice(f.path(f.name))
	}
}

// fileAt is the file with a path.
func (w *World) fileAt(path string) *file {
	i := slices.IndexFunc(w.files, func(f *file) bool { return w.path(f.name) == path })
	return w.files[i]
}

// lastWritten is when one of the files was. w.mu is held.
func (w *World) lastWritten() (last time.Time) {
	for _, f := range w.files {
		if f.written.After(last) {
			last = f.written
		}
	}
	return last
}

// readFile reads a server's file.
func (w *World) readFile(path string, _ int64) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fileAt(path).text, nil
}

// notice tells of a file. What nobody has room for is lost, as in the kernel.
func (l *life) notice(file string) {
	for _, n := range l.watchers {
		if slices.Contains(n.dirs, filepath.Dir(file)) {
			select {
			case n.Events <- fsnotify.Event{Name: file, Op: fsnotify.Create}:
			default:
			}
		}
	}
}

// A watcher is one instance of inotify.
type watcher struct {
	*fsnotify.Watcher
	dirs []string
}

// inotify is how a life of the daemon hears of files.
func (l *life) inotify() *sources.Inotify {
	find := func(n *fsnotify.Watcher, f func(w *watcher)) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, w := range l.watchers {
			if w.Watcher == n {
				f(w)
			}
		}
		return nil
	}
	return &sources.Inotify{
		Open: func() (*fsnotify.Watcher, error) {
			n := &fsnotify.Watcher{Events: make(chan fsnotify.Event, 64), Errors: make(chan error)}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.watchers = append(l.watchers, &watcher{Watcher: n})
			return n, nil
		},
		Add: func(n *fsnotify.Watcher, dir string) error {
			return find(n, func(w *watcher) {
				if !slices.Contains(w.dirs, dir) {
					w.dirs = append(w.dirs, dir)
				}
			})
		},
		Remove: func(n *fsnotify.Watcher, dir string) error {
			return find(n, func(w *watcher) { w.dirs = slices.DeleteFunc(w.dirs, func(d string) bool { return d == dir }) })
		},
		Shut: func(n *fsnotify.Watcher) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.watchers = slices.DeleteFunc(l.watchers, func(w *watcher) bool { return w.Watcher == n })
			return nil
		},
	}
}

// Prepare starts the helper.
func (l *life) Prepare() {}

// Rotate has the helper rewrite a file. It is a process of its own: what it has begun it
// does although the daemon is killed.
func (l *life) Rotate(
	_ context.Context, r servers.Rotation, changing func(netwatch.Replacement) error,
) (netwatch.Result, bool) {
	pass(l.lag("helper", 5*time.Millisecond, 80*time.Millisecond))
	for range 5 { // As package rewrite does
		result, err := l.rewrite(r, changing)
		if err == nil {
			return result, true
		}
		if !errors.Is(err, rewrite.ErrMoved) {
			return netwatch.Failure(err), true
		}
		pass(100 * time.Millisecond)
	}
	return netwatch.Failure(rewrite.ErrMoved), true
}

func (l *life) rewrite(
	r servers.Rotation, changing func(netwatch.Replacement) error,
) (netwatch.Result, error) {
	l.mu.Lock()
	err := l.effect("the helper is asked")
	f := l.fileAt(r.File)
	before := f.text
	l.mu.Unlock()
	if err != nil {
		return netwatch.Result{}, err
	}
	server, err := servers.Named(r.Server)
	if err != nil {
		return netwatch.Result{}, err
	}
	after, _, err := server.Rewrite(before, r.Wanted())
	if err != nil || bytes.Equal(before, after) {
		return netwatch.Result{Outcome: netwatch.Unchanged}, err
	}
	w := netwatch.Replacement{Place: r.File, From: netwatch.Fingerprint(before), To: netwatch.Fingerprint(after)}
	if err := changing(w); err != nil {
		return netwatch.Result{}, err
	}
	l.mu.Lock()
	if l.dead { // Whoever was killed has not answered
		l.mu.Unlock()
		return netwatch.Result{}, errDead
	}
	err = l.effect("the file is about to change")
	l.mu.Unlock()
	if err != nil && (l.cuts || l.lag("half", 0, 100)%2 == 0) {
		return netwatch.Result{}, err
	}
	pass(l.lag("rename", 100*time.Microsecond, 5*time.Millisecond))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead && l.cuts {
		return netwatch.Result{}, errDead
	}
	if f.writing > 0 || !bytes.Equal(f.text, before) {
		return netwatch.Result{}, rewrite.ErrMoved
	}
	l.rewritten(f, after)
	l.tell("%s: %s → %s", f.name, says(before), says(after))
	f.write(string(after))
	if !l.dead || !l.disk.atRisk { // Else nobody remembers
		f.mine = w
	}
	return netwatch.Result{Outcome: netwatch.Changed}, l.effect("the helper has answered")
}
