package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"netwatch"
)

// The pace of a pathWatch.
const (
	// quietTime is how long nothing must have happened before a look: a renewal is
	// several system calls in a row (5 ms for acme.sh, measured).
	quietTime = 75 * time.Millisecond
	// mostQuiet is after how long to look even if somebody never stops writing.
	mostQuiet = 500 * time.Millisecond
	// pollTime is the time between two looks while nothing happens. They find what the
	// kernel does not tell, as a mount, or what other clients of a file server do.
	pollTime = time.Minute
	// blindTime is pollTime while something cannot be watched.
	blindTime = 5 * time.Second
)

// A pathWatch waits until some paths may lead to something else. A watch on the file
// itself would not notice that a symlink above it is swapped, and would end with the
// file (measured). So it watches the directory of each hop. That way it also waits
// for a directory that does not exist yet.
type pathWatch struct {
	paths []string
	Inotify
	notify *fsnotify.Watcher // nil when there is none to be had
	// names are the names of all hops, and dirs the directories they are in.
	names, dirs map[string]bool
}

// An Inotify is how changes in directories are heard of: Open makes an instance, Add and
// Remove have it hear of a directory or not, and Shut closes it. Its limits are for the
// whole machine, and no test should reach them.
type Inotify struct {
	Open        func() (*fsnotify.Watcher, error)
	Add, Remove func(w *fsnotify.Watcher, dir string) error
	Shut        func(w *fsnotify.Watcher) error
}

// inotify is how changes of files are heard of.
func (e Edges) inotify() Inotify {
	if e.Inotify != nil {
		return *e.Inotify
	}
	return Inotify{fsnotify.NewWatcher, (*fsnotify.Watcher).Add, (*fsnotify.Watcher).Remove, (*fsnotify.Watcher).Close}
}

func newPathWatch(paths []string, hears Inotify) *pathWatch {
	return &pathWatch{paths: paths, Inotify: hears}
}

// arm watches all hops as they are now. Changes after arm began are seen by a look
// after it has ended, or wake wait. The error says what cannot be watched; wait works
// all the same.
func (w *pathWatch) arm() error {
	if w.notify == nil {
		notify, err := w.Open()
		if err != nil {
			return watchError("making an inotify instance", err)
		}
		w.notify = notify
	}
	before := w.dirs
	w.names, w.dirs = map[string]bool{}, map[string]bool{}
	var all []error
	for _, path := range w.paths {
		all = append(all, w.armPath(path)...)
	}
	for dir := range before {
		if !w.dirs[dir] {
			_ = w.Remove(w.notify, dir) // It may have gone by itself
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(slices.CompactFunc(all, func(a, b error) bool { return a.Error() == b.Error() })...)
}

// armPath watches the hops of one path. It adds each directory every time: if the
// kernel watches it already that costs nothing, and the kernel forgets a directory
// that is deleted, unmounted or replaced.
func (w *pathWatch) armPath(path string) (all []error) {
	failed := map[netwatch.Hop]error{}
	_, _, _ = netwatch.Hops("/", path, func(h netwatch.Hop) error { // Where the way ends is for the reader to say
		w.names[h.Name], w.dirs[h.Dir] = true, true
		if err := w.Add(w.notify, h.Dir); err != nil {
			failed[h] = err
		}
		return nil
	})
	for h, err := range failed {
		if !harmless(h, err) {
			all = append(all, watchError("watching "+h.Dir, err))
		}
	}
	return all
}

// harmless says whether it does not matter that the directory of h is not watched: it
// is gone, which its own directory has told; or nothing in it can be read either,
// which the reader says; or h is a mere directory, which is rarely replaced.
func harmless(h netwatch.Hop, err error) bool {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return true
	}
	info, blocked := os.Lstat(h.Path())
	return errors.Is(err, fs.ErrPermission) && (errors.Is(blocked, fs.ErrPermission) || blocked == nil && info.IsDir())
}

// watchError says what the kernel refused, with the remedy (inotify(7), /proc
// interfaces). It mentions a limit once for all directories.
func watchError(doing string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOSPC):
		doing, err = "watching directories", errors.New("the limit of inotify watches is reached")
		hint = "allow more of them: sysctl fs.inotify.max_user_watches=524288"
	case errors.Is(err, unix.EMFILE):
		hint = "allow more inotify instances: sysctl fs.inotify.max_user_instances=512"
	case errors.Is(err, fs.ErrPermission):
		hint = "let the user that runs netwatch read that directory, as `netwatch grant` does for what source.file names"
	}
	return netwatch.WithHint(fmt.Errorf("%s: %w; files are looked at every %s instead", doing, err, blindTime), hint)
}

// wait returns nil when it is time to look: something happened and was quiet since,
// limit is over, or ctx is done. An error says that the watching has ended.
func (w *pathWatch) wait(ctx context.Context, limit time.Duration) error {
	due := time.NewTimer(limit)
	defer due.Stop()
	quiet := time.NewTimer(limit)
	defer quiet.Stop()
	began, moved := time.Now(), false
	for {
		concerns, err := w.next(ctx, due.C, quiet.C)
		switch {
		case err != nil || concerns == nil:
			return err
		case !*concerns:
			continue
		}
		quiet.Reset(quietTime)
		if !moved {
			moved = true
			due.Reset(min(mostQuiet, limit-time.Since(began)))
		}
	}
}

// next waits for one thing to happen, and says whether it concerns the paths. It
// returns nil when there is nothing more to wait for.
func (w *pathWatch) next(ctx context.Context, due, quiet <-chan time.Time) (*bool, error) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if w.notify != nil {
		events, errs = w.notify.Events, w.notify.Errors
	}
	select {
	case ev, ok := <-events:
		if !ok {
			return nil, errClosed
		}
		return new(w.concerns(ev)), nil
	case err, ok := <-errs:
		switch {
		case !ok:
			return nil, errClosed
		case errors.Is(err, fsnotify.ErrEventOverflow), errors.Is(err, unix.EINVAL):
			// Events were lost; or a directory that moved away is gone before
			// its watch could be taken off. Both are reasons to look.
			return new(true), nil
		}
		return nil, fmt.Errorf("reading from inotify: %w", err)
	case <-due:
	case <-quiet:
	case <-ctx.Done():
	}
	return nil, nil
}

var errClosed = errors.New("inotify was closed")

// concerns says whether an event is about a hop, or about a watched directory itself.
// It compares only the names of hops: a directory that is reached in two ways, as
// over a bind mount, is watched once, under one of its names.
func (w *pathWatch) concerns(ev fsnotify.Event) bool {
	return w.names[filepath.Base(ev.Name)] || w.dirs[ev.Name]
}

// close ends the watching and fsnotify's goroutine.
func (w *pathWatch) close() {
	if w.notify != nil {
		_ = w.Shut(w.notify)
		w.notify, w.dirs = nil, nil
	}
}
