package rewrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"netwatch"
	"netwatch/access"
)

const (
	// tries is how often to begin anew because somebody else wrote the file meanwhile.
	tries = 5
	// pause is how long to wait for somebody who is writing the file.
	pause = 100 * time.Millisecond
)

// An Edit gives a file another content that depends on the one it has.
type Edit struct {
	// File is its path, which may lead over symlinks.
	File string
	// New makes the new content from the old one, which it must not change. It may be
	// called several times.
	New func(text []byte) ([]byte, error)
	// Readers are users who have to be able to read the file.
	Readers []access.Reader
	// Changing, if it is not nil, is called right before the file is replaced; if it
	// returns an error, the file stays.
	Changing func(netwatch.Replacement) error
}

// Do edits the file and returns its content before and after. If they are the same,
// it writes nothing. If somebody else writes the file meanwhile, it begins anew, some
// times.
func (e Edit) Do(ctx context.Context) (before, after []byte, err error) {
	unlock, err := Lock(ctx, e.File)
	if err != nil {
		return nil, nil, explainLock(e.File, err)
	}
	defer unlock()
	for range tries {
		before, after, err = e.once()
		if !errors.Is(err, ErrMoved) {
			return before, after, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	err = fmt.Errorf("rewriting %s: %w, %d times in a row", e.File, ErrMoved, tries)
	return nil, nil, netwatch.WithHint(err, "find what else writes this file, such as an old cron job, and remove it")
}

// once reads the file, and replaces it if its content is to be another.
func (e Edit) once() (before, after []byte, err error) {
	f, err := Open(e.File)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if after, err = e.New(f.Text); err != nil {
		return nil, nil, hinted(fmt.Errorf("rewriting %s: %w", e.File, err), netwatch.Hint(err))
	}
	if !bytes.Equal(after, f.Text) {
		err = f.Replace(after, e.Readers, e.Changing)
	}
	return f.Text, after, err
}
