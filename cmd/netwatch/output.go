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

// An output is standard output or standard error, and the only way there: what is
// printed holds the words of strangers, as a realm, a certificate's names or a path,
// and root's terminal obeys some characters. They are escaped here, whoever prints
// them and whatever he prints, as JSON would escape them, so that JSON is the same
// to a program. Our own colours do not pass through the text, and so nobody's text can
// imitate them.
type output struct {
	file *os.File

	mu  sync.Mutex // the daemon logs from many goroutines
	err error      // the first of writing, for those who print and do not look
}

// failed is why something was not written, or nil.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func standardOutput() *output { return &output{file: os.Stdout} }
func standardError() *output  { return &output{file: os.Stderr} }

// Write writes what does nothing to a terminal but stand there.
func (o *output) Write(p []byte) (int, error) {
	if err := o.write(netwatch.Harmless(p, "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o *output) write(p []byte) error {
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

// paint writes a text, coloured by an outcome on a terminal.
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

// shown is a text of one line.
func shown(text string) string { return netwatch.Printable(text) }

// lines is a text of several lines, of which none but the first can pass for one of
// ours: those that follow are behind an indent.
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

// writable says that writing does not have to be waited for.
func writable(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return true
	}
	poll := unix.PollFd{Fd: int32(f.Fd()), Events: unix.POLLOUT} //nolint:gosec // descriptors are small
	n, err := unix.Poll([]unix.PollFd{poll}, 0)
	return err == nil && n == 1
}
