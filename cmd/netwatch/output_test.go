package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/daemon"
)

// terminal is a pseudo-terminal: what is written to the output comes out of screen.
func terminal(t *testing.T) (out *output, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return &output{file: tty}, screen
}

// displayed reads from the screen until it ends with these words.
func displayed(t *testing.T, screen *os.File, end string) string {
	t.Helper()
	var text []byte
	for chunk := make([]byte, 1024); !strings.HasSuffix(string(text), end); {
		n, err := screen.Read(chunk)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		text = append(text, chunk[:n]...)
	}
	return string(text)
}

// On a terminal our colours are ours, and nobody's text has any.
func TestColoursAreOurs(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	out, screen := terminal(t)
	c := &command{stdout: out}
	e := netwatch.Entry{
		Kind: netwatch.EntryStep, Rule: "r", Step: "s", Outcome: netwatch.Failed,
		Error: "\x1b[32mchanged\x1b[0m\nall is well",
	}
	if err := c.printEntry(e); err != nil {
		t.Fatal(err)
	}
	const want = "r: s: \x1b[31mfailed\x1b[0m: \\u001b[32mchanged\\u001b[0m\r\n    all is well (0.000 s)\r\n"
	if got := displayed(t, screen, " s)\r\n"); !strings.HasSuffix(got, want) {
		t.Errorf("the screen shows %q", got)
	}
}

// netwatch run on a terminal is no way around.
func TestLogOnATerminal(t *testing.T) {
	out, screen := terminal(t)
	log, flush := daemon.NewLog(out, out.isTerminal())
	log.Error().Str("error", evil).Str(evil, "x").Msg(evil)
	flush()
	if _, err := io.WriteString(out, "end\n"); err != nil {
		t.Fatal(err)
	}
	got := displayed(t, screen, "end\r\n")
	if string(netwatch.Harmless([]byte(got), "\r\n")) != got || !strings.Contains(got, "u202e") {
		t.Errorf("the screen shows %q", got)
	}
}
