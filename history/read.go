package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// A Reader reads the history in a state directory, also while a daemon writes it.
type Reader struct {
	dir string
	// damaged is how many lines of a file could not be read, by its name.
	damaged map[string]int
	// skipped are files that are not read.
	skipped []error
	any     bool
}

// NewReader makes a reader of the history in a state directory. It opens nothing yet.
func NewReader(dir string) *Reader { return &Reader{dir: dir, damaged: map[string]int{}} }

// Read calls each with every entry that the query wants, oldest first. Lines that are
// damaged and files that are not ours are skipped, and Skipped says so. The error says
// that the history may not be read; that there is none is no error.
func (r *Reader) Read(q Query, each func(netwatch.Entry)) error {
	files, err := r.open(q.base())
	if err != nil {
		return err
	}
	defer closeAll(files)
	for _, file := range files {
		if err := r.read(file, q, each); err != nil {
			return err
		}
	}
	return nil
}

// Skipped says what Read skipped.
func (r *Reader) Skipped() []error {
	all := r.skipped
	for _, name := range []string{
		allName + beforeSuffix, allName, addressesName + beforeSuffix, addressesName,
	} {
		if n := r.damaged[name]; n > 0 {
			all = append(all, fmt.Errorf("reading the history: %s: damaged lines, which are skipped: %d", r.path(name), n))
		}
	}
	return all
}

// read calls each with the entries of one file.
func (r *Reader) read(file *os.File, q Query, each func(netwatch.Entry)) error {
	damaged, err := entries(file, q, each)
	r.damaged[filepath.Base(file.Name())] += damaged
	return err
}

// Entries calls each with the entries in a text, and returns how many lines are none.
func Entries(in io.Reader, each func(netwatch.Entry)) (damaged int, err error) {
	return entries(in, Query{}, each)
}

func entries(text io.Reader, q Query, each func(netwatch.Entry)) (damaged int, err error) {
	in := newScanner(text)
	for in.next() {
		at, is := timeOf(in.line)
		if is && !q.wants(at) {
			continue
		}
		var e netwatch.Entry
		if !is || json.Unmarshal(in.line, &e) != nil {
			damaged++
			continue
		}
		each(e)
	}
	return damaged + in.damaged, in.err
}

// open opens the file before and the newest, as far as they are there and ours. If the
// newest is put away meanwhile it begins anew.
func (r *Reader) open(base string) (files []*os.File, err error) {
	for range 3 {
		closeAll(files)
		newest, err := r.openOne(base)
		if err != nil {
			return nil, err
		}
		before, err := r.openOne(base + beforeSuffix)
		if err != nil {
			closeAll(newest)
			return nil, err
		}
		if len(before) == 0 || len(newest) == 0 || identity(before[0]) != identity(newest[0]) {
			return append(before, newest...), nil
		}
		closeAll(before)
		files = newest
	}
	return files, nil
}

// identity is the number of a file, whatever its name; 0 if there is none.
func identity(file *os.File) uint64 {
	var is unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &is); err != nil {
		return 0
	}
	return is.Ino
}

// openOne opens one file: none, if it is not there or not ours.
func (r *Reader) openOne(name string) ([]*os.File, error) {
	file, info, err := netwatch.OpenRegular(r.path(name), unix.O_NOFOLLOW)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, netwatch.ErrNotRegular):
		r.skipped = append(r.skipped, fmt.Errorf("reading the history: it is skipped: %w", err))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	err = ours(r.dir, file)
	if err == nil && info.Size() > 2*maxFile { // As a daemon that was taken over can leave it to root
		err = fmt.Errorf("%s: it is larger than netwatch lets it become", file.Name())
	}
	if err != nil {
		_ = file.Close()
		r.skipped = append(r.skipped, fmt.Errorf("reading the history: it is skipped: %w", err))
		return nil, nil
	}
	r.any = true
	return []*os.File{file}, nil
}

// Any says whether there was any file to read.
func (r *Reader) Any() bool { return r.any }

func (r *Reader) path(name string) string { return filepath.Join(r.dir, name) }

// errStranger says that a file is somebody else's.
var errStranger = errors.New("it belongs to a stranger")

// ours says why a file is a stranger's: what belongs to the owner of the directory is
// ours, and what belongs to us.
func ours(dir string, file *os.File) error {
	var owner, is unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &owner), unix.Fstat(int(file.Fd()), &is)); err != nil {
		return err
	}
	if is.Uid != owner.Uid && int(is.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: %w: the user %d, and not %d, to whom the directory belongs", file.Name(), errStranger, is.Uid,
			owner.Uid)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// A scanner reads the lines of a file one by one. A last one without an end is torn, or
// just being written, and is none.
type scanner struct {
	in *bufio.Reader
	// line is the present one, without its end, until the next call of next.
	line []byte
	// read is how many bytes the lines so far had.
	read int64
	// damaged is how many were too long.
	damaged int
	err     error
}

func newScanner(in io.Reader) *scanner { return &scanner{in: bufio.NewReaderSize(in, maxLine)} }

// next reads the next line that is not empty, and says whether there is one.
func (s *scanner) next() bool {
	for {
		line, err := s.in.ReadSlice('\n')
		length := len(line)
		if errors.Is(err, bufio.ErrBufferFull) {
			length, err = s.pass(length)
			line = nil
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = fmt.Errorf("reading the history: %w", err)
			}
			return false
		}
		s.read += int64(length)
		if line == nil {
			s.damaged++
		}
		if s.line = bytes.TrimSuffix(line, []byte("\n")); len(s.line) > 0 {
			return true
		}
	}
}

// pass goes to the end of a line that is too long, of which so many bytes are read, and
// returns how long it is.
func (s *scanner) pass(length int) (int, error) {
	for {
		rest, err := s.in.ReadSlice('\n')
		length += len(rest)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return length, err
		}
	}
}

// timeKey is how each line of ours begins.
var timeKey = []byte(`{"time":"`)

// timeOf is the time of the entry in a line, without reading all of it.
func timeOf(line []byte) (at time.Time, is bool) {
	rest, is := bytes.CutPrefix(line, timeKey)
	end := bytes.IndexByte(rest, '"')
	if !is || end < 0 {
		return at, false
	}
	return at, at.UnmarshalText(rest[:end]) == nil
}
