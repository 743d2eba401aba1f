package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
