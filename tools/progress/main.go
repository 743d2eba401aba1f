// Progress runs go test and says meanwhile at which test it is and how many are
// left: on a terminal in one line that is written over, elsewhere in a line now and
// then. At the end it says what was slow, and what failed with all that it printed.
//
//	progress [FLAG...] ./PACKAGE...
//
// The words are those of go test; packages begin with "./". It fails when go test
// does, and also when a test that is there did not run, or none did.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	info, err := os.Stdout.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0
	os.Exit(run(os.Args[1:], ".", &screen{out: os.Stdout, tty: tty}))
}

// run runs the tests below dir and returns the exit code.
func run(args []string, dir string, s *screen) int {
	t := newTally(count(args, dir), s)
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, s
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(s, "progress: running go test:", err)
		return 1
	}
	defer handOn(cmd.Process)()
	t.follow(lines(out), s.pause())
	return t.end(cmd.Wait())
}

// handOn gives a process the signals that would end this one, which lives on to
// say what failed until then.
func handOn(p *os.Process) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // Ends with stop.
		for s := range signals {
			_ = p.Signal(s) // It may have ended by itself.
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}

// lines reads lines until there are none; the channel is then closed.
func lines(r io.Reader) <-chan []byte {
	all := make(chan []byte)
	go func() { // Ends with r.
		defer close(all)
		for b := bufio.NewReader(r); ; {
			line, err := b.ReadBytes('\n')
			if len(line) > 0 {
				all <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// pause is how long a line about the same test stands.
func (s *screen) pause() time.Duration {
	if s.tty {
		return time.Second
	}
	return 10 * time.Second
}
