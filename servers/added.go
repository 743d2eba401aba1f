package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"netwatch"
	"netwatch/rewrite"
)

// AddedDir has a file for each file of a server that root has added lines to. It is
// root's alone; systemd makes it for the helper (packaging/netwatch-file@.service), and
// where there has been none nothing is recorded.
const AddedDir = "/var/lib/netwatch-file"

// An addition is what a rotation wrote into a file that named no address, as it stands
// there now: an address of ours in such a file grows stale once netwatch is gone.
type addition struct {
	File string `json:"file"`
	Text string `json:"text"`
	// Was is what stood in its place.
	Was string `json:"was,omitempty"`
}

// note keeps the record of what was added to the file, after it was rewritten. Without
// it the line only stays when netwatch goes, so an error of it is none of the rotation.
func (r Rotation) note(server Server, before, after []byte) {
	if os.Geteuid() == 0 && !bytes.Equal(before, after) {
		r.record(filepath.Join(AddedDir, netwatch.Fingerprint([]byte(r.File))), server, before, after)
	}
}

// record keeps the record under a name.
func (r Rotation) record(name string, server Server, before, after []byte) {
	was, _ := readAddition(name)
	names := func(text []byte) bool {
		return slices.ContainsFunc(server.Advertised(text, r.Options), func(a netip.Addr) bool { return !a.IsUnspecified() })
	}
	is := added(before, after, was, names)
	is.File = r.File
	switch {
	case is.Text == "":
		_ = os.Remove(name)
	case is != was:
		record, _ := json.Marshal(is) // It has nothing that JSON cannot hold.
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

// without is a text as it was before the addition, if that still stands there.
func (a addition) without(text []byte) (rest []byte, stands bool) {
	rest, stands = netwatch.WithoutLines(text, []byte(a.Text))
	if stands && a.Was != "" {
		rest = bytes.Replace(text, []byte(a.Text), []byte(a.Was), 1)
	}
	return rest, stands
}

// added is what of a new text was not in it before netwatch: what it adds to the old
// one, or what it has in the place of what was added before, or that as it was. Where the
// text names no address without netwatch, it is also what it has in the place of other
// lines. It is nothing if there is no telling.
func added(before, after []byte, was addition, names func(text []byte) bool) (is addition) {
	rest, still := was.without(before)
	head := commonLines(rest, after)
	if tail := rest[head:]; bytes.HasSuffix(after[head:], tail) {
		is.Text = string(after[head : len(after)-len(tail)])
	} else if !names(rest) {
		end := commonEnd(rest[head:], after[head:])
		is.Text, is.Was = string(after[head:len(after)-end]), string(rest[head:len(rest)-end])
	}
	if back, whole := is.without(after); whole && bytes.Equal(back, rest) {
		return is
	}
	if _, stands := was.without(after); still && stands {
		return was // What changed is another step's, elsewhere in the file
	}
	return addition{}
}

// commonEnd is the length of the lines with which two texts end alike.
func commonEnd(a, b []byte) (n int) {
	ours, theirs := bytes.SplitAfter(a, []byte{'\n'}), bytes.SplitAfter(b, []byte{'\n'})
	for i := 1; i <= min(len(ours), len(theirs)) && bytes.Equal(ours[len(ours)-i], theirs[len(theirs)-i]); i++ {
		n += len(ours[len(ours)-i])
	}
	return n
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
	return takeBack(ctx, AddedDir, done)
}

// takeBack is TakeBack by the records in a directory.
func takeBack(ctx context.Context, dir string, done func(file, lines string)) (errs []error) {
	names, _ := filepath.Glob(dir + "/*") // The pattern is right
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
		rest, _ := a.without(text)
		return rest, nil
	}}.Do(ctx)
	if err == nil && !bytes.Equal(before, after) {
		done(a.File, a.Text)
	}
	return err
}
