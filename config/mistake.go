package config

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"netwatch"
)

// A Mistake is one thing wrong in a configuration, and where.
type Mistake struct {
	// File is the name of the file.
	File string `json:"file"`
	// Line and Column count from 1; a column is a byte, as compilers count.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Key is the full name of the key, or empty when there is none. Elements
	// of lists count from 1: source.stun.servers[1], rule[2].do[1].
	Key string `json:"key,omitempty"`
	// Text says what is wrong.
	Text string `json:"text"`
	// Hint says what to do, or is empty.
	Hint string `json:"hint,omitempty"`
}

// Error is the mistake as `file:line:column: key: what is wrong`.
func (m Mistake) Error() string {
	if m.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", m.File, m.Line, m.Column, m.Key, m.Text)
}

// Mistakes are all mistakes of a file, sorted by position.
type Mistakes []Mistake

// shown is how many mistakes Error tells. A file with more is no configuration.
const shown = 1000

// Error is one line for each mistake, and one that counts those left out.
func (m Mistakes) Error() string { return m.Lines(Mistake.Error) }

// Lines is Error with each mistake as of has it.
func (m Mistakes) Lines(of func(Mistake) string) string {
	var lines []string
	for _, one := range m[:min(len(m), shown)] {
		lines = append(lines, of(one))
	}
	if more := len(m) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more mistakes", more))
	}
	return strings.Join(lines, "\n")
}

// A report collects the mistakes of one file.
type report struct {
	file     string
	size     int
	lines    []int // where each line begins
	mistakes Mistakes
	// partial says that some lines could not be read at all. Then nothing can be
	// called missing.
	partial bool
}

func newReport(file string, text []byte) *report {
	lines := []int{0}
	for i, c := range text {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	return &report{file: file, size: len(text), lines: lines}
}

// line is the index of the line that the byte at offset is in.
func (r *report) line(offset int) int {
	return sort.SearchInts(r.lines, offset+1) - 1
}

// add notes a mistake at a byte of the file, with the hint of err.
func (r *report) add(offset int, key string, err error) {
	offset = min(max(offset, 0), r.size)
	line := r.line(offset)
	r.mistakes = append(r.mistakes, Mistake{
		File: r.file, Line: line + 1, Column: offset - r.lines[line] + 1,
		Key: key, Text: err.Error(), Hint: netwatch.Hint(err),
	})
}

// at notes a mistake in the value of a node.
func (r *report) at(n *node, err error) { r.add(n.value, n.path(), err) }

// atKey notes a mistake in the key of a node.
func (r *report) atKey(n *node, err error) { r.add(n.key, n.path(), err) }

// missing notes that a section lacks a key.
func (r *report) missing(section *node, key string, err error) {
	if !r.partial {
		r.add(section.key, section.sub(key), err)
	}
}

// blame says whether a mistake is about this key or a part of its value.
func (m Mistakes) blame(key string) bool {
	return slices.ContainsFunc(m, func(m Mistake) bool {
		rest, ok := strings.CutPrefix(m.Key, key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// result is all mistakes, sorted by position, or nil if there are none.
func (r *report) result() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.mistakes
}
