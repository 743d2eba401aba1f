// Package edit changes one value in a text that is configuration: in YAML, in ini
// files, in files of environment variables and in libconfig's. Bytes come in and
// bytes go out; it reads no file.
//
// What it keeps to:
//
//   - Every byte but the value's stays. The new text is read again, and is given out
//     only if everything else says what it said before.
//   - It changes what it has understood whole. Where two readers could see two things
//     in a text, it refuses, with the line and the column.
//   - Its errors hold nothing of the text but places in it: whoever is told of them may
//     not be allowed to read it.
package edit

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Form is how a kind of files holds values.
type Form struct {
	// Name is what people call it.
	Name string
	// Check says what is wrong with a key.
	Check func(key string) error
	// Get is the value at a key; empty if the key has none. If the key is not there,
	// the error is ErrMissing.
	Get func(text []byte, key string) (Value, error)
	// Set is the text with another value at a key.
	Set func(text []byte, key, value string) ([]byte, error)
	// Add is the text with a key that it does not have yet. Where it would be beside
	// must be there. It is nil where nobody can tell the place.
	Add func(text []byte, key, value string) ([]byte, error)
}

// ErrMissing says that a text does not have the key.
var ErrMissing = errors.New("the key is not there")

// errElsewhere says that the new text would say more than the old one but the value.
var errElsewhere = errors.New("with the new value it would be read as something else")

// A Mistake is what is wrong at a place of a text.
type Mistake struct {
	// Line and Column begin at 1; a column is a character.
	Line, Column int
	What         string
}

// Error is the place and what is wrong.
func (m *Mistake) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", m.Line, m.Column, m.What)
}

// placeOf is a mistake at a byte of a text, without words.
func placeOf(text []byte, offset int) *Mistake {
	before := text[:offset]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return &Mistake{Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1}
}

// wrongAt is a mistake at a byte of a text.
func wrongAt(text []byte, offset int, format string, args ...any) error {
	m := placeOf(text, offset)
	m.What = fmt.Sprintf(format, args...)
	return m
}

// A Value is what a text has at a key, and where.
type Value struct {
	Text string
	// wrong is a mistake there, less its words.
	wrong Mistake
}

// Wrong is what is wrong with the value, with its place.
func (v Value) Wrong(what string) error {
	v.wrong.What = what
	return &v.wrong
}

// valueAt is the value of a text in a span.
func valueAt(text []byte, at span) Value {
	return Value{string(text[at.from:at.to]), *placeOf(text, at.from)}
}

// maxValue is how many bytes a value may have: more than some addresses.
const maxValue = 256

// checkValue refuses a value that means something to a reader beside itself.
func checkValue(value string) error {
	const plain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:,/!;-_"
	if value == "" || len(value) > maxValue || strings.Trim(value, plain) != "" {
		return errors.New("the new value is no list of addresses")
	}
	return nil
}

// checkText refuses what one reader takes for the end of a line or of the file and
// another does not.
func checkText(text []byte) error {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return wrongAt(text, i, "there is a zero byte")
	}
	for i, b := range text {
		if b == '\r' && (i+1 == len(text) || text[i+1] != '\n') {
			return wrongAt(text, i, "a carriage return stands without a line feed")
		}
	}
	return nil
}

// A span is some bytes of a text.
type span struct{ from, to int }

// replace is a text with other bytes in the place of some.
func (s span) replace(text []byte, by string) []byte {
	return append(append(append(make([]byte, 0, len(text)+len(by)), text[:s.from]...), by...), text[s.to:]...)
}
