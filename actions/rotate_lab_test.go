//go:build lab

package actions

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// These tests need root, setfacl, and Debian's coturn with its user turnserver.

// turnserver is whom Debian's package runs coturn as.
const turnserver = "turnserver"

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
	return exec.Command("runuser", "-u", turnserver, "--", "cat", file).Run() == nil
}

// attributes are owner, mode, ACL and extended attributes of the file.
func attributes(t *testing.T, file string) string {
	t.Helper()
	return run(t, "stat", "-c", "%u:%g %a", file) + run(t, "getfacl", "-nacp", file) +
		run(t, "getfattr", "-d", "-m", "-", "-e", "hex", "--absolute-names", file)
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
		"attributes": {
			"setfattr -n user.origin -v yunohost FILE", "setfattr -n user.empty FILE",
			"setfattr -n trusted.note -v x FILE", "setfattr -n security.note -v y FILE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := yunohost(t)
			for _, command := range prepare {
				command = strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(command)
				words := strings.Fields(command)
				run(t, words[0], words[1:]...)
			}
			before, readable := attributes(t, file), canRead(file)
			wantResult(t, rotate(t, file, "198.51.100.7", func(netwatch.Replacement) error {
				wantAlone(t, file) // There is nothing that could be opened before it is right.
				return nil
			}), netwatch.Changed)
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

// rotateFor does the step on the file, which the users of these names have to be
// able to read.
func rotateFor(t *testing.T, file, public string, changing func(netwatch.Replacement) error,
	users ...string,
) netwatch.Result {
	t.Helper()
	s := step(t, Env{}, "rotate coturn "+file)
	c := s.Action.(*rotation).To(known(public), netwatch.OwnAddresses())
	for _, u := range users {
		c.Readers = append(c.Readers, access.Reader{Unit: "coturn.service", User: u})
	}
	return c.Do(t.Context(), changing)
}

// Promise: coturn is never left with a file that it cannot read.
func TestLabRotateUnreadable(t *testing.T) {
	file := yunohost(t)
	wantResult(t, rotateFor(t, file, "203.0.113.6", nil, turnserver), netwatch.Changed)
	for name, forbid := range map[string][]string{
		"file":      {"setfacl", "-x", "u:turnserver", file},
		"directory": {"setfacl", "-x", "u:turnserver", filepath.Dir(file)},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, "setfacl", "-m", "u:turnserver:rX", filepath.Dir(file), file)
			run(t, forbid[0], forbid[1:]...)
			touched := func(netwatch.Replacement) error { t.Error("it was to be changed"); return nil }
			got := rotateFor(t, file, "198.51.100.7", touched, turnserver)
			wantResult(t, got, netwatch.Failed, "coturn (user turnserver) cannot read it; it would start as an open relay",
				"setpriv --reuid=61001 --regid=65534 --clear-groups setfacl -m u:turnserver:r "+file)
			wantFile(t, file, strings.Replace(confText, "203.0.113.5", "203.0.113.6", 1))
			wantAlone(t, file)
			run(t, "sh", "-c", netwatch.Hint(got.Err)) // The remedy helps
			if !canRead(file) {
				t.Errorf("turnserver still cannot read it after %s", netwatch.Hint(got.Err))
			}
		})
	}
}

// Nobody is refused because somebody cannot read who does not have to.
func TestLabRotateReaders(t *testing.T) {
	for name, users := range map[string][]string{
		"nobody runs it": nil, "another runs it": {"61001"}, "root runs it": {"root"}, "who runs it is not " +
			"known": {"lab-absent"},
	} {
		t.Run(name, func(t *testing.T) {
			file := conf(t, "203.0.113.5")
			run(t, "chmod", "755", filepath.Dir(filepath.Dir(file)), filepath.Dir(file))
			run(t, "chown", "61001", file)
			run(t, "chmod", "600", file)
			wantResult(t, rotateFor(t, file, "198.51.100.7", nil, users...), netwatch.Changed)
		})
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
		"another's file": {"61001:61002", "644", "failed rewriting FILE: keeping its owner 61001 and group 61002: " +
			"operation not permitted have netwatch's helper do it", confText},
		"another's, unreadable": {
			"61001:61002", "640", "failed reading FILE: permission denied have netwatch's helper do it",
			confText,
		},
		"own file": {"65534:65534", "640", "changed", rewritten},
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
	refused := func() {
		t.Helper()
		wantResult(t, rotate(t, link, "198.51.100.7", nil), netwatch.Failed,
			"user 61001 decides where the way to it leads, and may not write the directory "+filepath.Dir(victim))
		wantFile(t, victim, confText)
	}
	run(t, "chmod", "755", filepath.Dir(filepath.Dir(victim)))
	refused()
	run(t, "chown", "61001", victim)
	refused()
	run(t, "chown", "61001", filepath.Dir(victim))
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
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Failed, "rewriting "+file, "no space left on device",
		"free some space")
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

// What cannot be changed by anybody is said to be so, with the right remedy.
func TestLabRotateImmutable(t *testing.T) {
	file := conf(t, "203.0.113.5")
	trap := filepath.Join(filepath.Dir(file), ".coturn.conf.netwatch-new")
	for name, c := range map[string]struct{ prepare, undo, want, hint string }{
		"file": {
			"chattr +i " + file, "chattr -i " + file, "operation not permitted",
			"chattr -i -a " + file,
		},
		"directory": {
			"chattr +i " + filepath.Dir(file), "chattr -i " + filepath.Dir(file),
			"operation not permitted", "chattr -i -a " + filepath.Dir(file),
		},
		"a directory in its way": {"mkdir " + trap, "rmdir " + trap, "is a directory", "rm -r " + trap},
		"set-user-id":            {"chmod 4640 " + file, "chmod 640 " + file, "set-user-id", "chmod u-s,g-s " + file},
		"set-group-id":           {"chmod 2650 " + file, "chmod 640 " + file, "set-user-id", "chmod u-s,g-s " + file},
		"a hard link": {
			"ln " + file + " " + file + "2", "rm " + file + "2", "2 names",
			"find / -xdev -samefile " + file,
		},
		"a group's directory": {
			"chmod 775 " + filepath.Dir(file), "chmod 755 " + filepath.Dir(file), "several users",
			"namei -l " + file,
		},
		"everybody's directory": {
			"chmod 777 " + filepath.Dir(file), "chmod 755 " + filepath.Dir(file), "several users",
			"namei -l " + file,
		},
		"two users' directories": {
			"chown 61002 " + filepath.Dir(filepath.Dir(file)) + "; chown 61001 " +
				filepath.Dir(file), "chown root " + filepath.Dir(filepath.Dir(file)) + " " + filepath.Dir(file), "several users",
			"namei -l " + file,
		},
		"a directory not for users": {
			"chown 61001 " + filepath.Dir(file) + "; chmod 500 " + filepath.Dir(file),
			"chown root " + filepath.Dir(file) + "; chmod 755 " + filepath.Dir(file), "may not write", "namei -l " + file,
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, "chgrp", "61009", filepath.Dir(file))
			run(t, "sh", "-c", c.prepare)
			got := rotate(t, file, "198.51.100.7", nil)
			run(t, "sh", "-c", c.undo)
			wantResult(t, got, netwatch.Failed, c.want, c.hint)
			wantFile(t, file, confText)
			wantAlone(t, file)
		})
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
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

// Where the file system makes no file without a name, one with a name does, but not
// where its directory's owner could open it and go on writing when it is another's.
func TestLabRotateWithoutTmpfile(t *testing.T) {
	file := yunohost(t)
	dir, over := filepath.Dir(file), t.TempDir()
	run(t, "bindfs", dir, over)
	t.Cleanup(func() { run(t, "umount", over) })
	there := filepath.Join(over, filepath.Base(file))
	if fd, err := unix.Open(over, unix.O_TMPFILE|unix.O_RDWR, 0o600); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatalf("it does make one: %d %v", fd, err)
	}
	before := attributes(t, file)
	wantResult(t, rotate(t, there, "198.51.100.7", nil), netwatch.Changed)
	wantFile(t, file, rewritten)
	if after := attributes(t, file); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	run(t, "chown", "root:root", file)
	got := rotate(t, there, "203.0.113.5", nil)
	wantResult(t, got, netwatch.Failed, "are of two users", "chown -h 61001 "+there)
	wantFile(t, file, rewritten)
	wantAlone(t, file)
	run(t, "sh", "-c", netwatch.Hint(got.Err)) // The remedy helps
	wantResult(t, rotate(t, there, "203.0.113.5", nil), netwatch.Changed)
}

// privileges are what the helper has (packaging/netwatch-file@.service).
const privileges = "chown,fowner,lease,setuid,setgid"

// again runs the test of this name again, in a process of its own for the file.
func again(t *testing.T, test, file string, prefix ...string) string {
	t.Helper()
	child := exec.Command(prefix[0], append(prefix[1:], os.Args[0], "-test.run=^"+test+"$")...)
	child.Env = append(os.Environ(), asUser+"="+file)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// Promise: what the helper may is enough to keep all that the file has, and is not
// enough for anything else.
func TestLabRotateByHelper(t *testing.T) {
	if file := os.Getenv(asUser); file != "" {
		got := rotate(t, file, "198.51.100.7", nil)
		fmt.Println(got.Outcome, got.Err, netwatch.Hint(got.Err))
		return
	}
	for name, c := range map[string]struct{ may, prepare, want string }{
		"as YunoHost":              {privileges, "true", "changed"},
		"an ACL":                   {privileges, "setfacl -m u:61003:rwx,g:61004:rw,m::r FILE", "changed"},
		"an ACL of the directory":  {privileges, "setfacl -dm u:61005:rwx DIR", "changed"},
		"a set-group-id directory": {privileges, "chmod 2750 DIR", "changed"},
		"a sticky directory":       {privileges, "chmod 1770 DIR", "changed"},
		"attributes":               {privileges, "setfattr -n user.origin -v x FILE", "changed"},
		"as YunoHost renders it":   {privileges, "chown root:root FILE; chmod 440 FILE", "changed"},
		"root's, with attributes": {
			privileges, "setfattr -n user.origin -v x FILE; chown root:root FILE; chmod 440 FILE",
			"changed",
		},
		"of a third":                {privileges, "chown 61003:61004 FILE; chmod 600 FILE", "changed"},
		"root's directory":          {privileges, "chown root:61002 DIR", "changed"},
		"root's directory and file": {privileges, "chown root:root DIR FILE", "changed"},
		"no privilege to give it": {
			"fowner,setuid,setgid", "chown 61001:61007 FILE",
			"failed rewriting FILE: keeping its owner 61001 and group 61007: operation not permitted",
		},
		"no privilege to be another": {
			"chown,fowner", "true",
			"failed reading FILE: taking the groups of user 61001: operation not permitted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := yunohost(t)
			names := strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file))
			run(t, "sh", "-c", names.Replace(c.prepare))
			before := attributes(t, file)
			out := again(t, "TestLabRotateByHelper", file, "setpriv", "--bounding-set=-all,+"+
				strings.ReplaceAll(c.may, ",", ",+"))
			if want := names.Replace(c.want); !strings.HasPrefix(out, want) {
				t.Errorf("it says %s, want %s", out, want)
			}
			if c.want == "changed" {
				wantFile(t, file, rewritten)
			}
			if after := attributes(t, file); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			wantAlone(t, file)
		})
	}
}
