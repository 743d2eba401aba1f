package history

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// A Position is a place in a file of history. The zero value is the beginning of all.
type Position struct {
	file   uint64
	offset int64
}

// MarshalText gives a text for UnmarshalText.
func (p Position) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d-%d", p.file, p.offset), nil
}

// UnmarshalText takes what MarshalText gave. An empty text is the beginning.
func (p *Position) UnmarshalText(text []byte) error {
	*p = Position{}
	if len(text) == 0 {
		return nil
	}
	if n, err := fmt.Sscanf(string(text), "%d-%d", &p.file, &p.offset); n != 2 || err != nil || p.offset < 0 {
		return fmt.Errorf("%q is no position", text)
	}
	return nil
}

// maxPage is how many bytes a page has at least, if there are more.
const maxPage = 256 << 10

// A Page is a part of history.
type Page struct {
	// Lines are entries, each a line of JSON.
	Lines []byte
	// Next is where the next page begins, and More says that there may be one.
	Next Position
	More bool
	// Damaged is how many lines were skipped.
	Damaged int
}

// Page reads the entries that a query wants from a position on, up to another if that is
// not zero. If what was at the position has been pushed out, it begins with the oldest
// that there is.
func (r *Reader) Page(q Query, from, to Position) (Page, error) {
	files, err := r.open(q.base())
	if err != nil {
		return Page{}, err
	}
	defer closeAll(files)
	files, from = seek(files, from)
	p := Page{Next: from}
	for _, file := range files {
		at := Position{file: identity(file)}
		if at.file == from.file {
			at.offset = from.offset
		}
		if err := p.add(file, q, at, to); err != nil || p.More {
			return p, err
		}
		if at.file == to.file {
			break
		}
	}
	return p, nil
}

// seek leaves out the files before a position. One that is in none of them is the
// beginning.
func seek(files []*os.File, from Position) ([]*os.File, Position) {
	for i, file := range files {
		info, err := file.Stat()
		if err == nil && identity(file) == from.file && from.offset <= info.Size() {
			return files[i:], from
		}
	}
	return files, Position{}
}

// add adds what a file has from a position on.
func (p *Page) add(file *os.File, q Query, at, to Position) error {
	if _, err := file.Seek(at.offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	in := newScanner(file)
	if at.file == to.file {
		in = newScanner(io.LimitReader(file, to.offset-at.offset))
	}
	p.take(in, q)
	p.Next = Position{at.file, at.offset + in.read}
	return in.err
}

// take adds lines until the page is full.
func (p *Page) take(in *scanner, q Query) {
	for !p.More && in.next() {
		when, is := timeOf(in.line)
		switch {
		case !is || !json.Valid(in.line):
			p.Damaged++
		case q.wants(when):
			p.Lines = append(append(p.Lines, in.line...), '\n')
		}
		p.More = len(p.Lines) >= maxPage
	}
	p.Damaged += in.damaged
}
