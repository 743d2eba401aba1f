package sources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// The pace of a follower.
const (
	// confirmTime is after how long a difference is looked at again before it is
	// told: a writer may have paused.
	confirmTime = 50 * time.Millisecond
	// mostUnsteady bounds that for a file that never is the same twice.
	mostUnsteady = 250 * time.Millisecond
	// retryTime is the time between two looks at what a writer leaves for an
	// instant, as the last change may be one that the kernel does not tell.
	retryTime = 250 * time.Millisecond
	// graceTime is how long that is no trouble.
	graceTime = 10 * time.Second
	// refusedTime is when an event that was not accepted is tried again.
	refusedTime = 5 * time.Second
)

// none is the fingerprint of what is not there, so that its coming is an event.
const none = "none"

// A sight is what a file was seen to hold.
type sight struct {
	fingerprint string
	// fields are those of the event beside file, old and new.
	fields map[string]string
	// until is when a certificate ends.
	until time.Time
}

// A passing error is of a state that a writer leaves for an instant: a file that
// is not there, half a file, a key that does not match yet.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// A follower is a source that looks at files when they may have changed, and
// tells of each that is another than the one last accepted. It is all that cert
// and file have in common.
type follower struct {
	name  string
	event string
	env   Env
	read  func(file string) (sight, error)
	// wrote says whether netwatch made a file what it is, which is then no event;
	// nil where netwatch writes none.
	wrote func(netwatch.Rewrite) bool
	files []*followed
	watch *pathWatch

	mu    sync.Mutex // guards what follows, and the troubles of files
	blind error      // why changes are seen late
}

// A followed is one file of a follower.
type followed struct {
	name string
	// seen, found and since are of a difference that is not told yet: between
	// what was accepted and what was found, and when one was first noticed.
	seen, found string
	since       time.Time
	// trouble is why it cannot be read, from when on, and whether that was said.
	trouble error
	began   time.Time
	said    bool
}

// newFollower makes a follower of files, which reads them by read and looks
// again when something happens on the way to one of them or to one of beside.
func newFollower(name, event string, env Env, files []netwatch.Path, beside []string, read func(string) (sight, error)) *follower {
	f := &follower{name: name, event: event, env: env, read: read}
	f.env.Log = env.Log.With().Str("source", name).Logger()
	paths := beside
	for _, file := range files {
		f.files = append(f.files, &followed{name: string(file)})
		paths = append(paths, string(file))
	}
	f.watch = newPathWatch(paths)
	return f
}

// String is the name in the configuration.
func (f *follower) String() string { return f.name }

// Run looks at once, after each change and once a minute. It returns nil when ctx
// is done, and an error when there is nothing more to be heard from the kernel.
// All it starts has ended then, and it can be run again.
func (f *follower) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	defer f.watch.close()
	for ctx.Err() == nil {
		soon := f.arm()
		for _, file := range f.files {
			if again := f.look(file, emit); again > 0 {
				soon = min(soon, again)
			}
		}
		if err := f.watch.wait(ctx, soon); err != nil {
			return err
		}
	}
	return nil
}

// arm watches, and returns the time until the next look if nothing happens.
func (f *follower) arm() time.Duration {
	err := f.watch.arm()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.blind == nil {
		f.env.Log.Warn().Err(err).Str("hint", netwatch.Hint(err)).Msg("changes will be noticed late")
	}
	f.blind = err
	if err != nil {
		return blindTime
	}
	return pollTime
}

// look compares a file with what was accepted of it, and returns after how long
// to look again at the latest; zero is whenever the next look comes.
func (f *follower) look(file *followed, emit func(netwatch.Event) error) time.Duration {
	seen := f.env.Seen(f.event, file.name)
	found, err := f.read(file.name)
	f.note(file, err)
	if err != nil {
		return f.unread(file, seen, err)
	}
	switch {
	case found.fingerprint == seen:
		file.since = time.Time{}
		return 0
	case seen == "", f.ours(file, seen, found):
		return f.see(file, found.fingerprint)
	case !file.steady(seen, found.fingerprint):
		return confirmTime
	}
	return f.tell(file, seen, found, emit)
}

// ours says whether netwatch made the file what it is. It is known by where the
// file lies: it may be named otherwise in the step that rewrote it.
func (f *follower) ours(file *followed, seen string, found sight) bool {
	if f.wrote == nil {
		return false
	}
	place, _, err := netwatch.Hops("/", file.name, func(netwatch.Hop) error { return nil })
	return err == nil && f.wrote(netwatch.Rewrite{Place: place, From: seen, To: found.fingerprint})
}

// steady says whether a difference was there before, or has been another at
// each look for too long.
func (file *followed) steady(seen, found string) bool {
	again := !file.since.IsZero() && file.seen == seen && file.found == found
	if file.since.IsZero() {
		file.since = time.Now()
	}
	file.seen, file.found = seen, found
	return again || time.Since(file.since) > mostUnsteady
}

// tell emits the event, and returns when to try again if it was not accepted.
func (f *follower) tell(file *followed, seen string, found sight, emit func(netwatch.Event) error) time.Duration {
	file.since = time.Time{}
	fields := map[string]string{"file": file.name, "old": seen, "new": found.fingerprint}
	maps.Copy(fields, found.fields)
	if emit(netwatch.NewEvent(f.event, f.name, fields)) != nil {
		return refusedTime
	}
	return 0
}

// see notes what is no event: how a file is when it is followed for the first
// time.
func (f *follower) see(file *followed, fingerprint string) time.Duration {
	if err := f.env.See(f.event, file.name, fingerprint); err != nil {
		f.env.Log.Warn().Err(err).Str("hint", netwatch.Hint(err)).Msg("how a file is cannot be noted")
		return refusedTime
	}
	return 0
}

// unread returns when to look again at what cannot be read. If it never could,
// and that is because it is not there yet, its coming will be an event.
func (f *follower) unread(file *followed, seen string, err error) time.Duration {
	file.since = time.Time{}
	if !errors.As(err, &passing{}) {
		return 0
	}
	if seen == "" {
		if again := f.see(file, none); again > 0 {
			return again
		}
	}
	if time.Since(file.began) < graceTime {
		return retryTime
	}
	return 0
}

// note keeps why a file cannot be read, and warns once.
func (f *follower) note(file *followed, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && file.trouble == nil {
		file.began = time.Now()
	}
	if err == nil && file.said {
		f.env.Log.Info().Str("file", file.name).Msg("well again")
	}
	file.trouble = err
	file.said = file.said && err != nil
	if file.troubled() && !file.said {
		file.said = true
		f.env.Log.Warn().Err(err).Str("hint", netwatch.Hint(err)).Msg("a file cannot be followed")
	}
}

// troubled says whether what keeps a file from being read is more than a writer
// at work.
func (file *followed) troubled() bool {
	return file.trouble != nil && (!errors.As(file.trouble, &passing{}) || time.Since(file.began) >= graceTime)
}

// Trouble is what cannot be watched or read, each with its remedy, or nil.
func (f *follower) Trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []error{f.blind}
	for _, file := range f.files {
		if file.troubled() {
			all = append(all, file.trouble)
		}
	}
	for i, err := range all {
		if hint := netwatch.Hint(err); hint != "" {
			all[i] = fmt.Errorf("%w\nhint: %s", err, hint)
		}
	}
	return errors.Join(all...)
}

// maxFile is the size in bytes of a file that netwatch reads. Configurations and
// certificates are some kilobytes; a log that is named by mistake would be read
// whole at each line that it gets.
const maxFile = 4 << 20

// readFile reads a regular file, over symlinks, and waits for nothing.
func readFile(file string) ([]byte, error) {
	text, err := netwatch.ReadRegular(file, maxFile)
	if err != nil {
		return nil, readError(file, err)
	}
	return text, nil
}

// readError says which file could not be read and, once, why.
func readError(file string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) && path.Path == file {
		err = path.Err
	}
	err = fmt.Errorf("reading %s: %w", file, err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return passing{err}
	case errors.Is(err, netwatch.ErrNotRegular), errors.Is(err, netwatch.ErrTooLarge):
		return netwatch.WithHint(err, "name a regular file of at most 4 MiB")
	}
	return err
}
