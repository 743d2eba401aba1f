//go:build lab

package actions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// These tests need root, setfacl, and Debian's coturn with its user turnserver.

const confText = "realm=r\nexternal-ip=203.0.113.5\nport=3478\n"

// rewritten is confText after rotating to 198.51.100.7.
const rewritten = "realm=r\nexternal-ip=198.51.100.7\nport=3478\n"

// run runs a command and gives its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// yunohost is a coturn.conf as YunoHost sets it up: of a user of its own, and
// readable to turnserver by an ACL alone.
func yunohost(t *testing.T) string {
	t.Helper()
	file := conf(t, "203.0.113.5")
	dir := filepath.Dir(file)
	run(t, "chown", "61001:61002", dir, file)
	run(t, "chmod", "750", dir)
	run(t, "chmod", "640", file)
	run(t, "setfacl", "-m", "u:turnserver:rX", dir, file)
	run(t, "chmod", "755", filepath.Dir(dir))
	return file
}

// canRead says whether a real process of turnserver can read the file.
func canRead(file string) bool {
	return exec.Command("runuser", "-u", coturnUser, "--", "cat", file).Run() == nil
}

// attributes are owner, mode, ACL and extended attributes of the file.
func attributes(t *testing.T, file string) string {
	t.Helper()
	return run(t, "stat", "-c", "%u:%g %a", file) + run(t, "getfacl", "-nacp", file) + run(t, "getfattr", "-d", "-m", "-", "-e", "hex", "--absolute-names", file)
}

// Promise: owner, group, mode, ACL and extended attributes stay.
func TestLabRotateKeepsAttributes(t *testing.T) {
	for name, prepare := range map[string][]string{
		"as YunoHost":                nil,
		"mask narrower":              {"setfacl -m u:61003:rwx,g:61004:rw,m::r FILE"},
		"mask wider":                 {"setfacl -m g::-,m::rwx FILE"},
		"default ACL":                {"setfacl -dm u:61005:rwx DIR"},
		"default ACL, file has none": {"setfacl -b FILE", "chmod 644 FILE", "setfacl -dm u:61005:rwx DIR"},
		"set-group-id directory":     {"chmod g+s DIR"},
		"attributes":                 {"setfattr -n user.origin -v yunohost FILE", "setfattr -n user.empty FILE", "setfattr -n trusted.note -v x FILE", "setfattr -n security.note -v y FILE"},
		"set-user-id":                {"chmod 4744 FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			file := yunohost(t)
			for _, command := range prepare {
				command = strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(command)
				words := strings.Fields(command)
				run(t, words[0], words[1:]...)
			}
			before, readable := attributes(t, file), canRead(file)
			wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
			wantFile(t, file, rewritten)
			if after := attributes(t, file); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			if !readable || !canRead(file) {
				t.Errorf("turnserver could read it: %v, can read it: %v", readable, canRead(file))
			}
			wantAlone(t, file)
		})
	}
}

// coturnOn starts a real coturn with the file, as the user, on loopback.
func coturnOn(t *testing.T, user, file string) {
	t.Helper()
	dir := t.TempDir()
	run(t, "chmod", "777", dir)
	command := exec.Command("runuser", "-u", user, "--", "turnserver", "-c", file, "--listening-ip=127.0.0.1", "--listening-port=0",
		"--no-tls", "--no-dtls", "--no-cli", "--no-tcp", "--no-udp", "--log-file=stdout", "--pidfile="+dir+"/pid", "--userdb="+dir+"/db")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
	})
	o, err := openOriginal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	eventually(t, "coturn runs with "+file, func() bool { return user == "root" || len(o.running()) > 0 })
}

// eventually waits until ok, at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// Promise: coturn is never left with a file that it cannot read.
func TestLabRotateUnreadable(t *testing.T) {
	file := yunohost(t)
	coturnOn(t, coturnUser, file)
	wantResult(t, rotate(t, file, "203.0.113.6", nil), netwatch.Changed)
	for name, forbid := range map[string][]string{
		"file":      {"setfacl", "-x", "u:turnserver", file},
		"directory": {"setfacl", "-x", "u:turnserver", filepath.Dir(file)},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, "setfacl", "-m", "u:turnserver:rX", filepath.Dir(file), file)
			run(t, forbid[0], forbid[1:]...)
			// The process began with another inode: it is known by the path.
			got := rotate(t, file, "198.51.100.7", func(netwatch.Rewrite) error { t.Error("it was to be changed"); return nil })
			wantResult(t, got, netwatch.Failed, "coturn (user turnserver) cannot read it; it would start as an open relay", "setfacl -m u:turnserver:r "+file)
			wantFile(t, file, strings.Replace(confText, "203.0.113.5", "203.0.113.6", 1))
			wantAlone(t, file)
		})
	}
}

// Nobody is refused because Debian's user, which does not run here, cannot read.
func TestLabRotateNotForTurnserver(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, file string){
		"nobody runs it": func(*testing.T, string) {},
		"another runs it": func(t *testing.T, file string) {
			run(t, "chown", "nobody", file)
			coturnOn(t, "nobody", file)
		},
		"root runs it": func(t *testing.T, file string) { coturnOn(t, "root", file) },
		"it becomes another by itself": func(t *testing.T, file string) {
			run(t, "chmod", "644", file)
			coturnOn(t, coturnUser, file)
			run(t, "chmod", "600", file)
			writeFile(t, file, "proc-user=turnserver\nexternal-ip=203.0.113.5\n")
		},
		"an editor has it open": func(t *testing.T, file string) {
			tail := exec.Command("setpriv", "--reuid=turnserver", "--clear-groups", "tail", "-F", file)
			if err := tail.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := conf(t, "203.0.113.5")
			run(t, "chmod", "755", filepath.Dir(filepath.Dir(file)), filepath.Dir(file))
			run(t, "chmod", "600", file)
			prepare(t, file)
			wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
		})
	}
}

// The fall-back: a file that turnserver could read must stay so.
func TestLabCheckReaders(t *testing.T) {
	file := yunohost(t)
	o, err := openOriginal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	naive := filepath.Join(filepath.Dir(file), "naive")
	writeFile(t, naive, confText)
	if err := o.checkReaders(naive); err == nil || canRead(naive) {
		t.Errorf("a plain copy is unreadable: %v", err)
	}
	run(t, "setfacl", "-m", "u:turnserver:r", naive)
	if err := o.checkReaders(naive); err != nil || !canRead(naive) {
		t.Errorf("it is readable: %v", err)
	}
}

// asUser is set for the process that rotates as an ordinary user.
const asUser = "NETWATCH_TEST_ROTATE_AS_USER"

// Who is not root and not the owner cannot keep the owner: nothing is written.
func TestLabRotateAsUser(t *testing.T) {
	if file := os.Getenv(asUser); file != "" {
		got := rotate(t, file, "198.51.100.7", nil)
		fmt.Println(got.Outcome, got.Err, netwatch.Hint(got.Err))
		return
	}
	for name, c := range map[string]struct{ owner, mode, want, content string }{
		"another's file":        {"61001:61002", "644", "failed rewriting FILE: keeping its group 61002: operation not permitted have netwatch's helper do it", confText},
		"another's, unreadable": {"61001:61002", "640", "failed reading FILE: permission denied have netwatch's helper do it", confText},
		"own file":              {"65534:65534", "640", "changed", rewritten},
	} {
		t.Run(name, func(t *testing.T) {
			file := conf(t, "203.0.113.5")
			run(t, "chown", "65534", filepath.Dir(file))
			run(t, "chmod", "755", filepath.Dir(filepath.Dir(file)))
			run(t, "chown", c.owner, file)
			run(t, "chmod", c.mode, file)
			out := userRotates(t, file)
			if want := strings.ReplaceAll(c.want, "FILE", file); !strings.HasPrefix(out, want) {
				t.Errorf("got %q, want %q", out, want)
			}
			wantFile(t, file, c.content)
			wantAlone(t, file)
		})
	}
}

// userRotates runs this test again as nobody.
func userRotates(t *testing.T, file string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "test")
	run(t, "cp", os.Args[0], program)
	run(t, "chmod", "755", program, filepath.Dir(program), filepath.Dir(filepath.Dir(program)))
	child := exec.Command(program, "-test.run=^TestLabRotateAsUser$")
	child.Dir = filepath.Dir(file)
	child.Env = append(os.Environ(), asUser+"="+file)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// A link that its owner could point anywhere is not followed for him.
func TestLabRotateForeignLink(t *testing.T) {
	victim := conf(t, "203.0.113.5")
	link := filepath.Join(t.TempDir(), "coturn.conf")
	if err := errors.Join(os.Symlink(victim, link), os.Lchown(link, 61001, 61001)); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, link, "198.51.100.7", nil), netwatch.Failed, "a symlink of user 61001 leads to "+victim)
	wantFile(t, victim, confText)
	run(t, "chown", "61001", victim)
	wantResult(t, rotate(t, link, "198.51.100.7", nil), netwatch.Changed)
}

// tmpfs mounts a small file system and puts a configuration there.
func tmpfs(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("netwatch-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	file = filepath.Join(dir, "coturn.conf")
	writeFile(t, file, confText)
	return dir, file
}

// Promise: whatever the disk does, the file is the old or the new one.
func TestLabRotateDiskFull(t *testing.T) {
	dir, file := tmpfs(t)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Failed, "rewriting "+file, "no space left on device", "free some space")
	wantFile(t, file, confText)
	wantAlone(t, file, filler)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
}

func TestLabRotateReadOnly(t *testing.T) {
	dir, file := tmpfs(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Failed, "read-only file system", "netwatch grant")
	wantFile(t, file, confText)
	wantResult(t, rotate(t, file, "203.0.113.5", nil), netwatch.Unchanged)
}

// A file that may not be renamed over: nothing is left behind.
func TestLabRotateMountedOver(t *testing.T) {
	file := conf(t, "203.0.113.5")
	if err := unix.Mount(file, file, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(file, 0); err != nil {
			t.Error(err)
		}
	})
	got := rotate(t, file, "198.51.100.7", nil)
	wantResult(t, got, netwatch.Failed, "renaming the new file over it: device or resource busy", "bind mount")
	wantFile(t, file, confText)
	wantAlone(t, file)
}

// The own address comes from the routes, a namespace of our own has none.
func TestLabLocalAddressWithoutRoute(t *testing.T) {
	done := make(chan [2]string)
	go func() {
		// Never unlocked: the thread ends with the namespace.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		a4, a6 := LocalAddress(netwatch.IPv4, addresses("198.51.100.7")[netwatch.IPv4]), LocalAddress(netwatch.IPv6, addresses("2001:db8::7")[netwatch.IPv6])
		interfaces, _ := net.Interfaces()
		done <- [2]string{fmt.Sprint(err, len(interfaces)), fmt.Sprint(a4.IsValid(), a6.IsValid())}
	}()
	if got := <-done; got != [2]string{"<nil> 1", "false false"} {
		t.Error(got)
	}
}

// Each way to be allowed counts, and nothing else.
func TestLabTry(t *testing.T) {
	file := conf(t, "203.0.113.5")
	run(t, "chmod", "755", filepath.Dir(filepath.Dir(file)))
	run(t, "chown", "61001:61002", file)
	run(t, "chmod", "640", file)
	for name, c := range map[string]struct {
		access.User
		want bool
	}{
		"owner":               {access.User{UID: 61001, GID: 61009}, true},
		"group":               {access.User{UID: 61009, GID: 61002}, true},
		"supplementary group": {access.User{UID: 61009, GID: 61009, Groups: []uint32{61008, 61002}}, true},
		"none":                {access.User{UID: 61009, GID: 61009, Groups: []uint32{61008}}, false},
		"none of root's":      {access.User{UID: 61009, GID: 61009}, false},
	} {
		if err := c.CheckRead(file); (err == nil) != c.want || err != nil && !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is reckoned is what the kernel does, with any ACL.
func TestLabTryAsTheKernel(t *testing.T) {
	file := conf(t, "203.0.113.5")
	dir := filepath.Dir(file)
	run(t, "chmod", "755", filepath.Dir(dir))
	run(t, "chown", "61001:61002", file, dir)
	dice := rand.New(rand.NewPCG(1, 2))
	perm := func() string { return fmt.Sprint(dice.IntN(8)) }
	permitted := 0
	for range 100 {
		list := fmt.Sprintf("u::%s,g::%s,o::%s,m::%s,u:61003:%s,g:61004:%s,g:61005:%s", perm(), perm(), perm(), perm(), perm(), perm(), perm())
		run(t, "setfacl", "--set", list, []string{file, dir}[dice.IntN(2)])
		who := access.User{UID: 61001 + dice.IntN(4), GID: 61002 + dice.IntN(5), Groups: []uint32{uint32(61002 + dice.IntN(5))}}
		kernel := exec.Command("cat", file)
		kernel.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(who.UID), Gid: uint32(who.GID), Groups: who.Groups}}
		can := kernel.Run() == nil
		if err := who.CheckRead(file); (err == nil) != can {
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

// withCapabilities runs f as root with these capabilities alone.
func withCapabilities(t *testing.T, mask uint32, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data := [2]unix.CapUserData{{Effective: mask, Permitted: mask}}
		if err := unix.Capset(&header, &data[0]); err != nil {
			done <- err
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Promise: what the helper may is enough, and is not enough for anything by which
// the new file would be open to others than the old one, if only for an instant.
func TestLabDress(t *testing.T) {
	const (
		override = 1 << unix.CAP_DAC_OVERRIDE
		helper   = override | 1<<unix.CAP_CHOWN | 1<<unix.CAP_LEASE
	)
	for name, c := range map[string]struct {
		capabilities uint32
		prepare      string
		want         []string
	}{
		"all is kept":                   {helper, "setfacl -m u:61003:rwx,g:61004:rw,m::r FILE", nil},
		"its directory gives a group":   {helper, "chmod 2750 DIR", nil},
		"nothing before it is given up": {override, "chmod 2770 DIR", []string{"failed", "keeping its group 61002: operation not permitted"}},
		"a sticky directory":            {helper, "chmod 1770 DIR", []string{"failed", "its directory is sticky, where only owners may replace a file: operation not permitted", "chmod -t "}},
		"set-user-id":                   {helper, "chmod 4640 FILE", []string{"failed", "keeping its mode: operation not permitted"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := yunohost(t)
			run(t, "chgrp", "61009", filepath.Dir(file)) // another than the file's
			words := strings.Fields(strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(c.prepare))
			run(t, words[0], words[1:]...)
			before := attributes(t, file)
			var got netwatch.Result
			withCapabilities(t, c.capabilities, func() { got = rotate(t, file, "203.0.113.6", nil) })
			if c.want == nil {
				wantResult(t, got, netwatch.Changed)
			} else if said := fmt.Sprint(got.Outcome, got.Err, netwatch.Hint(got.Err)); !containsAll(said, c.want) {
				t.Errorf("it says %s, want %q", said, c.want)
			}
			if after := attributes(t, file); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			wantAlone(t, file)
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// Until the owner is right, nobody has a right but he who makes the file; and
// until the group is, that group has none.
func TestLabDressOrder(t *testing.T) {
	file := yunohost(t)
	run(t, "chmod", "660", file)
	o, err := openOriginal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	fresh, err := os.OpenFile(filepath.Dir(file)+"/new", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	fails := func(capabilities uint32, says, want string) {
		withCapabilities(t, capabilities, func() { err = o.dress(int(fresh.Fd())) })
		if got := attributes(t, fresh.Name()); err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(got, want+" 600\nuser::rw-\ngroup::---\nother::---\n") {
			t.Errorf("it says %v, want %s, and the new file has\n%s", err, says, got)
		}
	}
	const override, chown = 1 << unix.CAP_DAC_OVERRIDE, 1 << unix.CAP_CHOWN
	fails(override, "keeping its group", "0:0")
	// The attributes come before the mode, and this one takes another privilege.
	run(t, "setfacl", "-b", file)
	run(t, "setfattr", "-n", "security.note", "-v", "x", file)
	fails(override|chown, "keeping its extended attribute security.note", "0:61002")
}
