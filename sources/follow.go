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
	// confirmTime is how long after a difference was found to look again before
	// telling it: the writer may only have paused.
	confirmTime = 50 * time.Millisecond
	// mostUnsteady is how long a file may be another at each look before it is told
	// all the same.
	mostUnsteady = 250 * time.Millisecond
	// retryTime is how soon to look again at a file in a state that a writer leaves
	// only for an instant: the kernel may not tell of its last change.
	retryTime = 250 * time.Millisecond
	// graceTime is how long a file may be in such a state before that is reported.
	graceTime = 10 * time.Second
	// refusedTime is how long after an event was refused it is tried again.
	refusedTime = 5 * time.Second
)

// none is the fingerprint of a file that does not exist, so that its coming is an
// event.
const none = "none"

// A sight is what a file was seen to hold.
type sight struct {
	fingerprint string
	// fields are those of the event beside file, old and new.
	fields map[string]string
	// until is when a certificate ends.
	until time.Time
	// unchecked is why a part of it could not be checked; the rest is followed.
	unchecked error
}

// A passing error is about a state that a writer leaves only for an instant: a file
// that does not exist, half a file, a key that does not match yet.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// A follower is a source that looks at files when they may have changed, and tells of
// each one whose content is not the one last accepted. It is what cert and file have
// in common.
type follower struct {
	name  string
	event string
	env   Env
	read  func(file string) (sight, error)
	// wrote says whether netwatch made a file what it is, which is no event then. It
	// is nil if netwatch writes none of the files.
	wrote func(netwatch.Replacement) bool
	// reopen has root open again a file that may not be read. It is nil if root opens
	// none of the files.
	reopen func(file string) time.Duration
	files  []*followed
	watch  *pathWatch

	mu    sync.Mutex // guards what follows, and the troubles of files
	blind error      // why changes are seen late
}

// A followed is one file of a follower.
type followed struct {
	name string
	// seen is what was accepted, and found what was found instead, while that is not
	// told yet. since is when such a difference was first noticed.
	seen, found string
	since       time.Time
	// trouble is why the file cannot be read, began is since when, and said is whether
	// that was logged.
	trouble error
	// unchecked is whether it was logged that a part is not checked.
	unchecked bool
	began     time.Time
	said      bool
}

// newFollower makes a follower of files, which it reads by read. It looks again when
// something happens on the way to one of files or of beside.
func newFollower(name, event string, env Env, files []netwatch.Path, beside []string,
	read func(string) (sight, error),
) *follower {
	f := &follower{name: name, event: event, env: env, read: read}
	f.env.Log = env.Log.With().Str("source", name).Logger()
	paths := beside
	for _, file := range files {
		f.files = append(f.files, &followed{name: string(file)})
		paths = append(paths, string(file))
	}
	f.watch = newPathWatch(paths, env.inotify())
	return f
}

// String is the name in the configuration.
func (f *follower) String() string { return f.name }

// Run looks at once, after each change, and once a minute. It returns nil when ctx is
// done, and an error when the kernel will tell nothing more. Everything that it
// started has ended then, and it can be run again.
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

// arm watches the paths, and returns how long to wait for a change before the next
// look.
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

// look compares a file with what was accepted of it. It returns how soon the file
// wants another look; zero is no sooner than the other files want one.
func (f *follower) look(file *followed, emit func(netwatch.Event) error) time.Duration {
	seen := f.env.Seen(f.event, file.name)
	found, err := f.read(file.name)
	f.note(file, err)
	if err != nil {
		return f.unread(file, seen, err)
	}
	if found.unchecked != nil && !file.unchecked {
		file.unchecked = true
		f.env.Log.Warn().Err(found.unchecked).Str("hint", netwatch.Hint(found.unchecked)).Msg("a file is followed unchecked")
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

// ours says whether netwatch made the file what it is. It asks by the place of the
// file: the step that rewrote it may have given it another name.
func (f *follower) ours(file *followed, seen string, found sight) bool {
	if f.wrote == nil {
		return false
	}
	place, _, err := netwatch.Hops("/", file.name, func(netwatch.Hop) error { return nil })
	return err == nil && f.wrote(netwatch.Replacement{Place: place, From: seen, To: found.fingerprint})
}

// steady says whether a difference may be told: it was found twice in a row, or the
// file has been another at each look for too long.
func (file *followed) steady(seen, found string) bool {
	again := !file.since.IsZero() && file.seen == seen && file.found == found
	if file.since.IsZero() {
		file.since = time.Now()
	}
	file.seen, file.found = seen, found
	return again || time.Since(file.since) > mostUnsteady
}

// tell emits the event. It returns when to try again if the event was refused.
func (f *follower) tell(file *followed, seen string, found sight, emit func(netwatch.Event) error) time.Duration {
	file.since = time.Time{}
	fields := map[string]string{"file": file.name, "old": seen, "new": found.fingerprint}
	maps.Copy(fields, found.fields)
	if emit(netwatch.NewEvent(f.event, f.name, fields)) != nil {
		return refusedTime
	}
	return 0
}

// see notes a content that is no event: what a file holds when it is followed for the
// first time, or what netwatch wrote.
func (f *follower) see(file *followed, fingerprint string) time.Duration {
	if err := f.env.See(f.event, file.name, fingerprint); err != nil {
		f.env.Log.Warn().Err(err).Str("hint", netwatch.Hint(err)).Msg("how a file is cannot be noted")
		return refusedTime
	}
	return 0
}

// unread returns when to look again at a file that cannot be read. A file that was
// never read because it does not exist is noted as none: its coming will be an event.
func (f *follower) unread(file *followed, seen string, err error) time.Duration {
	file.since = time.Time{}
	if f.reopen != nil && errors.Is(err, fs.ErrPermission) {
		return f.reopen(file.name)
	}
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

// note keeps why a file cannot be read, and logs it once.
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

// troubled says whether more than a writer at work keeps the file from being read.
func (file *followed) troubled() bool {
	return file.trouble != nil && (!errors.As(file.trouble, &passing{}) || time.Since(file.began) >= graceTime)
}

// Trouble says what cannot be watched or read, each with its remedy. It is nil if
// there is nothing.
func (f *follower) Trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := []error{f.blind}
	for _, file := range f.files {
		if file.troubled() {
			all = append(all, file.trouble)
		}
	}
	return errors.Join(all...)
}

// maxFile is the size in bytes of the largest file that netwatch reads.
// Configurations and certificates have some kilobytes; a log that is named by mistake
// would be read whole at each line that it gets.
const maxFile = 4 << 20

// readFile reads a regular file, through symlinks. It waits for nobody.
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
