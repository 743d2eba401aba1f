// Progress runs go test and says meanwhile at which test it is and how many are
// left: on a terminal in one line that is written over, elsewhere in a line now and
// then. At the end it says what was slow, and what failed with all that it printed.
//
//	progress [-at-once N] [FLAG...] ./PACKAGE...
//
// The words are those of go test; packages are "." or begin with "./". With -at-once
// so many go tests run side by side, each with its share of the tests. It fails when
// go test does, and also when a test that is there did not run, or none did.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
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
	n, args := atOnce(args)
	shares := deal(tests(args, dir), args, n)
	t := newTally(shares, s)
	var all []*exec.Cmd
	heard, reading := make(chan said), sync.WaitGroup{}
	for i, share := range shares {
		cmd, out, err := share.start(dir, s)
		if err != nil {
			fmt.Fprintln(s, "progress: running go test:", err)
			return 1
		}
		defer handOn(cmd.Process)()
		all = append(all, cmd)
		reading.Go(func() { lines(out, i, heard) })
	}
	go func() { // Ends with all that is read.
		reading.Wait()
		close(heard)
	}()
	t.follow(heard, s.pause())
	var errs []error
	for _, cmd := range all {
		errs = append(errs, cmd.Wait())
	}
	return t.end(errors.Join(errs...))
}

// start starts the go test of a share.
func (s share) start(dir string, complaints io.Writer) (cmd *exec.Cmd, out io.Reader, err error) {
	cmd = exec.Command("go", append([]string{"test", "-json"}, s.args...)...)
	cmd.Dir, cmd.Stderr = dir, complaints
	if out, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	return cmd, out, cmd.Start()
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

// A said is a line of one share's go test.
type said struct {
	share int
	line  []byte
}

// lines hands on lines until there are none.
func lines(r io.Reader, share int, to chan<- said) {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadBytes('\n')
		if len(line) > 0 {
			to <- said{share, line}
		}
		if err != nil {
			return
		}
	}
}

// pause is how long a line about the same test stands.
func (s *screen) pause() time.Duration {
	if s.tty {
		return time.Second
	}
	return 10 * time.Second
}
