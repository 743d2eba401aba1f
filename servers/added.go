package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"netwatch"
	"netwatch/rewrite"
)

// AddedDir has a file for each file of a server that root has added lines to. It is
// root's alone; systemd makes it for the helper (packaging/netwatch-file@.service), and
// where there has been none nothing is recorded.
const AddedDir = "/var/lib/netwatch-file"

// An addition is what a rotation added to a file, as it stands there now: a line with
// our address in a file that had none grows stale once netwatch is gone.
type addition struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// note keeps the record of what was added to the file, after it was rewritten. Without
// it the line only stays when netwatch goes, so an error of it is none of the rotation.
func (r Rotation) note(before, after []byte) {
	if os.Geteuid() != 0 || bytes.Equal(before, after) {
		return
	}
	name := filepath.Join(AddedDir, netwatch.Fingerprint([]byte(r.File)))
	was, _ := readAddition(name)
	text := added(before, after, []byte(was.Text))
	switch {
	case len(text) == 0:
		_ = os.Remove(name)
	case string(text) != was.Text:
		record, _ := json.Marshal(addition{r.File, string(text)}) // It has nothing that JSON cannot hold.
		_ = renameio.WriteFile(name, record, 0o600)
	}
}

func readAddition(name string) (a addition, err error) {
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

// added is what of a new text was not in it before netwatch: what it adds to the old
// one, or what it has in the place of what was added before, or that as it was. It is nil
// if there is no telling.
func added(before, after, was []byte) []byte {
	rest, still := netwatch.WithoutLines(before, was)
	if !still {
		rest = before
	}
	head := commonLines(rest, after)
	if tail := rest[head:]; bytes.HasSuffix(after[head:], tail) {
		text := after[head : len(after)-len(tail)]
		if _, whole := netwatch.WithoutLines(after, text); whole {
			return text
		}
	}
	if _, stands := netwatch.WithoutLines(after, was); still && stands {
		return was // What changed is another step's, elsewhere in the file
	}
	return nil
}

// commonLines is the length of the lines with which two texts begin alike; the whole of
// a, if b goes on with a line of its own.
func commonLines(a, b []byte) (n int) {
	if rest, ok := bytes.CutPrefix(b, a); ok && (len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r') {
		return len(a)
	}
	for {
		i := bytes.IndexByte(a[n:], '\n') + 1
		if i == 0 || !bytes.HasPrefix(b[n:], a[n:n+i]) {
			return n
		}
		n += i
	}
}

// TakeBack takes out of all files the lines that rotations added and that nobody has
// changed since. done is called with each file and the lines. It is for root, once
// nobody rotates any more.
func TakeBack(ctx context.Context, done func(file, lines string)) (errs []error) {
	names, _ := filepath.Glob(AddedDir + "/*") // The pattern is right
	for _, name := range names {
		a, err := readAddition(name)
		if err == nil {
			err = a.takeBack(ctx, done)
		}
		if err == nil {
			err = os.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("taking what was added out of %s again: %w", a.File, err)
			errs = append(errs, netwatch.WithHint(err, fmt.Sprintf("take %q out of it by hand: it grows stale", a.Text)))
		}
	}
	return errs
}

func (a addition) takeBack(ctx context.Context, done func(file, lines string)) error {
	before, after, err := rewrite.Edit{File: a.File, New: func(text []byte) ([]byte, error) {
		rest, _ := netwatch.WithoutLines(text, []byte(a.Text))
		return rest, nil
	}}.Do(ctx)
	if err == nil && !bytes.Equal(before, after) {
		done(a.File, a.Text)
	}
	return err
}
