//go:build lab

package access

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
)

// These tests need root and setfacl.

// run runs a command and gives its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// conf is a file of 61001:61002 in a directory that everybody may search.
func conf(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	run(t, "chmod", "755", filepath.Dir(filepath.Dir(file)), filepath.Dir(file))
	run(t, "chown", "61001:61002", file)
	return file
}

// Each way to be allowed counts, and nothing else.
func TestLabTry(t *testing.T) {
	file := conf(t)
	for name, c := range map[string]struct {
		User
		want bool
	}{
		"owner":               {User{UID: 61001, GID: 61009}, true},
		"group":               {User{UID: 61009, GID: 61002}, true},
		"supplementary group": {User{UID: 61009, GID: 61009, Groups: []uint32{61008, 61002}}, true},
		"none":                {User{UID: 61009, GID: 61009, Groups: []uint32{61008}}, false},
		"none of root's":      {User{UID: 61009, GID: 61009}, false},
	} {
		if err := checkRead(t, c.User, file); (err == nil) != c.want || err != nil && !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is reckoned is what the kernel does, with any ACL.
func TestLabTryAsTheKernel(t *testing.T) {
	file := conf(t)
	dir := filepath.Dir(file)
	run(t, "chown", "61001:61002", dir)
	dice := rand.New(rand.NewPCG(1, 2))
	perm := func() string { return fmt.Sprint(dice.IntN(8)) }
	permitted := 0
	for range 100 {
		list := fmt.Sprintf("u::%s,g::%s,o::%s,m::%s,u:61003:%s,g:61004:%s,g:61005:%s", perm(), perm(), perm(), perm(),
			perm(), perm(), perm())
		run(t, "setfacl", "--set", list, []string{file, dir}[dice.IntN(2)])
		run(t, "chmod", "u+x", dir) // Else its owner, with whose rights we go the way, could not go it.
		who := User{UID: 61001 + dice.IntN(4), GID: 61002 + dice.IntN(5), Groups: []uint32{uint32(61002 + dice.IntN(5))}}
		kernel := exec.Command("cat", file)
		kernel.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
			Uid: uint32(who.UID), Gid: uint32(who.GID),
			Groups: who.Groups,
		}}
		can := kernel.Run() == nil
		if err := checkRead(t, who, file); (err == nil) != can {
			t.Errorf("%+v: %v, and the kernel permits it: %v\n%s", who, err, can, run(t, "getfacl", "-np", dir, file))
		}
		if can {
			permitted++
		}
	}
	if permitted < 10 || permitted > 90 {
		t.Errorf("%d of 100 were permitted", permitted)
	}
}

// Promise: with a user's rights to files, it has these and no others, and the user
// can do nothing to it.
func TestLabDo(t *testing.T) {
	file := conf(t)
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(closed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	him := User{UID: 61001, GID: 61009, Groups: []uint32{61008}}
	err := him.Do(func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", os.Getpid(), unix.Gettid()))
		for _, want := range []string{"Uid:\t0\t0\t0\t61001\n", "Gid:\t0\t0\t0\t61009\n", "Groups:\t61008 \n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("there is no %q in\n%s", want, status)
			}
		}
		if fd, err := unix.Open(closed, unix.O_RDONLY, 0); !errors.Is(err, unix.EACCES) {
			t.Errorf("root's file: %d %v", fd, err)
		}
		if fd, err := unix.Open(file, unix.O_RDWR, 0); err != nil {
			t.Errorf("his own file: %v", err)
		} else {
			_ = unix.Close(fd)
		}
		for _, line := range []string{"kill -STOP", "kill -KILL", "cat /proc/%d/environ", "kill -0"} {
			if !strings.Contains(line, "%d") {
				line += " %d"
			}
			out, err := exec.Command("setpriv", "--reuid=61001", "--regid=61009", "--clear-groups", "sh", "-c",
				fmt.Sprintf(line, os.Getpid())).CombinedOutput()
			if err == nil || !strings.Contains(strings.ToLower(string(out)), "permi") {
				t.Errorf("he may %s: %v\n%s", line, err, out)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if uid, err := unix.SetfsuidRetUid(-1); uid != 0 || err != nil {
		t.Errorf("afterwards it is user %d for files (%v)", uid, err)
	}
	if err := him.Do(func() error { return unix.ENOSPC }); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("what it says is lost: %v", err)
	}
}

// Whose rights do not suffice on the way is said, with what to do.
func TestLabWalkWithHisRights(t *testing.T) {
	file := conf(t)
	dir := filepath.Dir(file)
	run(t, "chown", "61001", dir)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Walk(closed + "/file")
	want := "user 61001 decides where the way leads, and may not look into " + closed + ": permission denied"
	if err == nil || err.Error() != want || netwatch.Hint(err) != byHand {
		t.Errorf("it says %v, hint: %s", err, netwatch.Hint(err))
	}
}

// Whoever is at the other end of a socket is known as who he was when he connected.
func TestLabConnect(t *testing.T) {
	socket := listen(t)
	for _, path := range []string{filepath.Dir(filepath.Dir(socket.Name)), filepath.Dir(socket.Name)} {
		run(t, "chmod", "755", path)
	}
	if err := Admit(socket.Name, []uint32{61001}); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int]error{0: nil, 61001: nil, 61002: unix.EACCES} {
		err := (User{UID: uid}).Connect(func() error {
			conn, err := net.DialUnix("unix", nil, socket.Addr)
			if err == nil {
				defer conn.Close()
				if p := socket.next(t); p.UID != uint32(uid) {
					t.Errorf("user %d is taken for %d", uid, p.UID)
				}
			}
			return err
		})
		if !errors.Is(err, want) {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	if uid := os.Getuid(); uid != 0 {
		t.Errorf("afterwards it is user %d", uid)
	}
}

// All groups of whoever connects are known.
func TestLabPeerGroups(t *testing.T) {
	socket := listen(t)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For ever: the thread ends with the goroutine
		err := setGroups([]uint32{61003, 61004})
		if err == nil {
			var conn net.Conn
			if conn, err = net.DialUnix("unix", nil, socket.Addr); err == nil {
				_ = conn.Close()
			}
		}
		ended <- err
	}()
	if p := socket.next(t); !slices.Equal(p.Groups, []uint32{61003, 61004, 0}) {
		t.Errorf("they are %v", p.Groups)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What the user was let read he keeps while it is root's for a while, as an app's
// script has it in a directory of the app's user, and loses once nobody needs it.
func TestLabKeptWhileRoots(t *testing.T) {
	file := conf(t)
	dir := filepath.Dir(file)
	run(t, "chown", "61001:61002", dir)
	run(t, "chmod", "750", dir)
	record := filepath.Join(t.TempDir(), "record")
	l := Ledger{File: record, Put: func(text string) error { return os.WriteFile(record, []byte(text), 0o600) }}
	him, needs := User{UID: 61007, GID: 61007}, []Need{{File: file, Watch: true}}
	if _, errs := l.Apply(him, needs); errs != nil {
		t.Fatal(errs)
	}
	run(t, "chown", "root:root", file)
	run(t, "chmod", "440", file)
	for range 2 {
		rights, errs := l.Apply(him, needs)
		if len(errs) != 1 || len(rights) != 0 {
			t.Errorf("rights %v, errors %v", rights, errs)
		}
		if err := checkRead(t, him, file); err != nil {
			t.Fatalf("he cannot read it any more: %v\n%s", err, run(t, "getfacl", "-np", dir, file))
		}
	}
	run(t, "chown", "61001:61002", file)
	if _, errs := l.Apply(him, needs); errs != nil {
		t.Error(errs)
	}
	if _, errs := l.Apply(him, nil); errs != nil {
		t.Error(errs)
	}
	if err := checkRead(t, him, file); err == nil {
		t.Errorf("he can read it although nobody needs it\n%s", run(t, "getfacl", "-np", dir, file))
	}
}
