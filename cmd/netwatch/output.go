package main

import (
	"cmp"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"netwatch"
)

// An output is standard output or standard error, and the only way there. What is
// printed holds the words of strangers, as a realm, the names of a certificate or a
// path, and the terminal of root obeys some characters. So the output escapes these
// characters as JSON would, whoever prints them; to a program, JSON stays the same.
// Our own colours do not go through the text, so that no text can imitate them.
type output struct {
	file *os.File

	mu  sync.Mutex // the daemon logs from many goroutines
	err error      // the first of writing, for those who print and do not look

	// gathered is what is not written yet; nil while everything is written at once. Then
	// only one goroutine writes.
	gathered []byte
}

// failed is why something could not be written, or nil.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func standardOutput() *output { return &output{file: os.Stdout} }
func standardError() *output  { return &output{file: os.Stderr} }

// Write writes p after making it harmless to a terminal.
func (o *output) Write(p []byte) (int, error) {
	if err := o.write(netwatch.Harmless(p, "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// mostGathered is how many bytes wait to be written.
const mostGathered = 64 << 10

// gather has what follows be written by and by, until release. It is for much at once.
func (o *output) gather() { o.gathered = make([]byte, 0, mostGathered) }

// release writes what was gathered, and from then on everything at once.
func (o *output) release() {
	p := o.gathered
	o.gathered = nil
	_ = o.write(p) // What is wrong is kept
}

func (o *output) write(p []byte) error {
	if o.gathered != nil {
		o.gathered = append(o.gathered, p...)
		if len(o.gathered) < mostGathered {
			return nil
		}
		p, o.gathered = o.gathered, o.gathered[:0]
	}
	_, err := o.file.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.err = cmp.Or(o.err, err)
	}
	return err
}

// colours are those of outcomes.
var colours = map[netwatch.Outcome]string{netwatch.Changed: "32", netwatch.Failed: "31", netwatch.Held: "33"}

// paint writes a text; on a terminal in the colour of an outcome.
func (o *output) paint(as netwatch.Outcome, text string) {
	colour, ok := colours[as]
	if ok = ok && o.isTerminal() && os.Getenv("NO_COLOR") == ""; ok {
		_ = o.write([]byte("\x1b[" + colour + "m"))
	}
	_, _ = io.WriteString(o, text)
	if ok {
		_ = o.write([]byte("\x1b[0m"))
	}
}

// shown makes one line of a text.
func shown(text string) string { return netwatch.Printable(text) }

// lines is a text of several lines. Those after the first are behind an indent, so
// that none can pass for a line of ours.
func lines(text, indent string) string {
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = shown(all[i])
	}
	return strings.Join(all, "\n"+indent)
}

// Fd is the descriptor of the file.
func (o *output) Fd() uintptr { return o.file.Fd() }

func (o *output) isTerminal() bool {
	_, err := unix.IoctlGetTermios(int(o.Fd()), unix.TCGETS)
	return err == nil
}

// writable says whether one can write without waiting.
func writable(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return true
	}
	poll := unix.PollFd{Fd: int32(f.Fd()), Events: unix.POLLOUT} //nolint:gosec // Descriptors are small
	n, err := unix.Poll([]unix.PollFd{poll}, 0)
	return err == nil && n == 1
}
