package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// A slowLog takes lines while it is open, and fails while it is broken.
type slowLog struct {
	bytes.Buffer
	open   chan struct{}
	broken bool
}

func (l *slowLog) WriteLevel(_ zerolog.Level, line []byte) (int, error) {
	<-l.open
	if l.broken {
		return 0, errors.New("broken")
	}
	return l.Write(line)
}

// write writes as many lines to a queue.
func write(q *logQueue, lines int) {
	for n := range lines {
		fmt.Fprintf(q, "line %d\n", n)
	}
}

// lostOf is how many lines it says are lost, and how many others there are.
func lostOf(text string) (lost, lines int) {
	for line := range strings.Lines(text) {
		if _, number, is := strings.Cut(line, `"lost":`); is {
			n, _ := strconv.Atoi(strings.Split(number, ",")[0]) // 0 would be missed.
			lost += n
		} else {
			lines++
		}
	}
	return lost, lines
}

// Who writes never waits; what a log that stands still does not take is counted,
// and said once it goes on.
func TestLogStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{open: make(chan struct{})}
		q := newLogQueue(l)
		defer close(q.lines)
		write(q, 3*maxLines)
		began := time.Now()
		q.flush()
		if took := time.Since(began); took != flushTime {
			t.Errorf("at the end it waits %v for a log that takes nothing", took)
		}
		close(l.open)
		q.flush()
		write(q, 1)
		q.flush()
		if lost, lines := lostOf(l.String()); lost == 0 || lost+lines != 3*maxLines+1 {
			t.Errorf("%d lines are lost and %d are there, of %d", lost, lines, 3*maxLines+1)
		}
		if first := strings.Join(strings.Split(l.String(), "\n")[:2], "\n"); !strings.Contains(first, `"lost":`) {
			t.Errorf("the loss is not said at once, but: %s", first)
		}
	})
}

// The same of a log that fails.
func TestLogIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{open: make(chan struct{}), broken: true}
		close(l.open)
		q := newLogQueue(l)
		defer close(q.lines)
		write(q, 5)
		q.flush()
		l.broken = false
		write(q, 2)
		q.flush()
		if lost, lines := lostOf(l.String()); lost != 5 || lines != 2 {
			t.Errorf("it says:\n%s", l.String())
		}
	})
}

// deaf are standard errors that nobody reads.
var deaf = map[string]func(t *testing.T) *os.File{
	"broken pipe": func(t *testing.T) *os.File {
		r, w := pipe(t)
		_ = r.Close()
		return w
	},
	"full pipe": func(t *testing.T) *os.File {
		_, w := pipe(t)
		fd := int(w.Fd())
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			_, err = unix.Write(fd, make([]byte, 1))
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
		return w
	},
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close() // It may be closed already.
		_ = w.Close()
	})
	return r, w
}

// netwatchCommand is the whole program, run as another process.
func netwatchCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Args[0] = "netwatch" // for testscript.Main
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// A daemon whose log nobody reads does its work, and ends when it is told to; so
// does one that cannot say why it does not begin.
func TestRunUnheard(t *testing.T) {
	for name, open := range deaf {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "netwatch.toml")
			text := fmt.Sprintf("[daemon]\nsocket = %q\nstate = %q\n", dir+"/s", dir+"/state") +
				"[[rule]]\non = [\"x\"]\nsettle = \"0s\"\ndo = [\"exec /bin/true\"]\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			run := netwatchCommand(t, "-c", file, "run")
			run.Stderr = open(t)
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			for _, err := os.Stat(dir + "/s"); err != nil; _, err = os.Stat(dir + "/s") {
				<-time.After(10 * time.Millisecond)
			}
			for range 10 {
				fired := netwatchCommand(t, "-c", file, "fire", "--timeout", "5s", "x")
				if out, err := fired.CombinedOutput(); err != nil {
					t.Errorf("firing: %v: %s", err, out)
				}
			}
			if err := run.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := run.Wait(); err != nil {
				t.Error(err)
			}
			failing := netwatchCommand(t, "-c", dir+"/none.toml", "run")
			failing.Stderr = open(t)
			if err := failing.Run(); failing.ProcessState.ExitCode() != exitFailed {
				t.Errorf("without a configuration it ends so: %v", err)
			}
		})
	}
}
