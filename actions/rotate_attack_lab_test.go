//go:build lab

package actions

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// swapping is set for the process that TestLabRotateSwapped has attack.
const swapping = "NETWATCH_TEST_ROTATE_SWAP"

// TestLabRotateSwapped is the attack of whoever owns the directory: he waits until
// the file is opened, has its directory and a link to one of root's change their
// places, waits until that is opened, and changes them back. With the file locked
// he takes his time.
func TestLabRotateSwapped(t *testing.T) {
	if dir := os.Getenv(swapping); dir != "" {
		swap(t, dir)
		return
	}
	file, victim := yunohost(t), t.TempDir()
	dir := filepath.Dir(file)
	// To read a long one takes longer.
	writeFile(t, file, strings.Repeat("#\n", 40<<10)+confText)
	for _, line := range []string{"chmod 755 " + victim + "/.. " + victim, "mkdir DIR/c", "mv FILE DIR/c/", "ln -s c/coturn.conf FILE", "ln -s " + victim + " DIR/l", "chown -hR 61001:61002 DIR"} {
		run(t, "sh", "-c", strings.NewReplacer("FILE", file, "DIR", dir).Replace(line))
	}
	attacker := attack(t, dir)
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_ = step(t, Env{}, "rotate coturn "+file).Do(ctx, netwatch.Job{Confirmed: known([]string{"203.0.113.6", "203.0.113.7"}[i%2])})
		cancel()
		if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
			t.Fatalf("at try %d root's directory has %v (%v)", i+1, left, err)
		}
	}
	_ = attacker.Process.Kill()
	_ = attacker.Wait()
	if info, err := os.Lstat(dir + "/c"); err != nil || !info.IsDir() {
		run(t, "sh", "-c", "cd "+dir+"; mv -T c x; mv -T l c")
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
}

// attack runs this test again as the owner of the directory, until it is killed.
func attack(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	program := filepath.Join(t.TempDir(), "test")
	run(t, "cp", os.Args[0], program)
	run(t, "chmod", "755", program, filepath.Dir(program), filepath.Dir(filepath.Dir(program)))
	child := exec.Command(program, "-test.run=^TestLabRotateSwapped$")
	child.Dir = dir
	child.Env = append(os.Environ(), swapping+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61001, Gid: 61002}, Pdeathsig: syscall.SIGKILL}
	ready, err := child.StdoutPipe()
	if err := errors.Join(err, child.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return child
}

// swap attacks until it is killed.
func swap(t *testing.T, dir string) {
	t.Helper()
	victim, err := os.Readlink(dir + "/l")
	if err != nil {
		t.Fatal(err)
	}
	exchange := func() {
		_ = unix.Renameat2(unix.AT_FDCWD, dir+"/c", unix.AT_FDCWD, dir+"/l", unix.RENAME_EXCHANGE)
	}
	for i := 0; ; i++ {
		held, err := os.Open(dir + "/c/coturn.conf")
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Flock(int(held.Fd()), unix.LOCK_SH)
		file := opened(t, dir+"/c/coturn.conf")
		if i == 0 {
			_, _ = os.Stdout.WriteString("r")
		}
		wait(file, 0)
		exchange()
		root := opened(t, victim)
		wait(root, 100*time.Millisecond)
		exchange()
		_ = held.Close()
		wait(-1, 200*time.Millisecond) // so that it ends
		_, _ = unix.Close(file), unix.Close(root)
	}
}

// opened is a watch that tells when somebody opens a file or directory.
func opened(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return fd
}

// wait waits for a watch to tell, some time or for ever, and does not sleep
// meanwhile: to wake up would take too long.
func wait(fd int, most time.Duration) {
	for end := time.Now().Add(most); most == 0 || time.Now().Before(end); {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); n > 0 {
			return
		}
	}
}
