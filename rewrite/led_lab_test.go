//go:build lab

package rewrite

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
)

// him is a user who leads the way to files.
const him = 61001

// sh runs a command line.
func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// led is a file that a directory of his leads to, which commands make what it is to be:
// DIR/his is the directory, DIR/his/file the file.
func led(t *testing.T, commands string) (file string) {
	t.Helper()
	dir := t.TempDir()
	sh(t, "chmod 755 "+filepath.Dir(dir)+" "+dir)
	const made = "mkdir DIR/his; echo old > DIR/his/file; chown -R 61001:61002 DIR/his; "
	sh(t, strings.ReplaceAll(made+commands, "DIR", dir))
	return dir + "/his/file"
}

// opened opens a file, until the test is over.
func opened(t *testing.T, file string) *File {
	t.Helper()
	f, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Promise: a command in a hint works, is done with the rights of whoever leads the way, and
// then the file can be rewritten.
func TestLabCommandWorks(t *testing.T) {
	for name, c := range map[string]struct{ made, want string }{
		"his file": {
			"chmod u+s DIR/his/file", "setpriv --reuid=61001 --regid=65534 --clear-groups chmod u-s,g-s FILE",
		},
		"root's file": {
			"chown root DIR/his/file; chmod u+s DIR/his/file", "chown -h 61001 FILE && setpriv --reuid=61001 ",
		},
		"left of his": {
			"mkdir DIR/his/.file.netwatch-new", "setpriv --reuid=61001 --regid=65534 --clear-groups rm -r DIR/",
		},
		"left in nobody's": {"mkdir DIR/his/.file.netwatch-new; chown -R nobody DIR/his", "runuser -u nobody -- rm -r DIR/"},
	} {
		file := led(t, c.made)
		err := opened(t, file).Replace([]byte("new\n"), nil, nil)
		want := strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(c.want)
		if err == nil || !strings.HasPrefix(netwatch.Hint(err), want) {
			t.Fatalf("%s: %v\nhint: %s\nwant: %s", name, err, netwatch.Hint(err), want)
		}
		sh(t, netwatch.Hint(err))
		if err := opened(t, file).Replace([]byte("new\n"), nil, nil); err != nil || sh(t, "cat "+file) != "new\n" {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

// In a sticky directory only owners may replace a file: whoever leads the way there must be
// one of them.
func TestLabSticky(t *testing.T) {
	for name, c := range map[string]struct {
		made string
		well bool
	}{
		"his file in root's": {"mkdir -m 1777 DIR/his/sticky; mv DIR/his/file DIR/his/sticky", true},
		"root's file in root's": {
			"mkdir -m 1777 DIR/his/sticky; mv DIR/his/file DIR/his/sticky; chown root DIR/his/sticky/file", false,
		},
		"root's file in his": {
			"mkdir -m 1777 DIR/his/sticky; mv DIR/his/file DIR/his/sticky; chown root DIR/his/sticky/file; " +
				"chown 61001 DIR/his/sticky",
			true,
		},
		"nobody else's way": {
			"chown root DIR/his; mkdir -m 1777 DIR/his/sticky; mv DIR/his/file DIR/his/sticky; chown 61003 DIR/his/sticky/file",
			true,
		},
	} {
		file := filepath.Join(filepath.Dir(led(t, c.made)), "sticky/file")
		err := opened(t, file).Replace([]byte("new\n"), nil, nil)
		if (err == nil) != c.well || err != nil && !strings.Contains(err.Error(), "its directory is sticky") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What root may not do with somebody's rights is told with whose they are; what he may not
// do himself has no such remedy.
func TestLabHintOfPermission(t *testing.T) {
	file := led(t, "")
	want := "it is done with the rights of 61001, who decides where the way leads: let him write " + filepath.Dir(file)
	if hint := opened(t, file).hint(unix.EPERM); hint != want {
		t.Errorf("of his it says %s", hint)
	}
	if hint := opened(t, led(t, "chown -R root DIR/his")).hint(unix.EPERM); hint != "" {
		t.Errorf("of root's it says %s", hint)
	}
	closed := led(t, "chmod 0 DIR/his/file")
	if _, err := Open(closed); !errors.Is(err, unix.EACCES) || !strings.Contains(netwatch.Hint(err), "namei -l "+closed) {
		t.Errorf("of what its owner may not read it says %v, hint: %s", err, netwatch.Hint(err))
	}
}

// again is set for the process that replaces a file as an ordinary user.
const again = "NETWATCH_TEST_REPLACE"

// Who is not root goes by his own rights: where another leads the way, he replaces nothing.
func TestLabReplaceAsUser(t *testing.T) {
	if file := os.Getenv(again); file != "" {
		err := opened(t, file).Replace([]byte("new\n"), nil, nil)
		t.Logf("%v, hint: %s", err, netwatch.Hint(err))
		return
	}
	program := filepath.Join(t.TempDir(), "test")
	dir := filepath.Dir(program)
	sh(t, "cp "+os.Args[0]+" "+program+"; chmod 755 "+program+" "+dir+" "+filepath.Dir(dir))
	for uid, c := range map[uint32]struct{ made, want string }{
		him:   {"", "<nil>, hint: \n"},
		61003: {"", "user 61001 decides where the way to it leads: operation not permitted, hint: " + askHelper},
		61004: {"chown 61004 DIR/his/file; chown root DIR/his; chmod 1777 DIR/his", "<nil>, hint: \n"},
		61005: {"chown root DIR/his; chmod 1777 DIR/his", "its directory is sticky, where only owners may replace a file"},
		61006: {"chown -R root DIR/his", "creating a file beside it: permission denied, hint: " + askHelper},
	} {
		child := exec.Command(program, "-test.run=^TestLabReplaceAsUser$", "-test.v")
		child.Env = append(os.Environ(), again+"="+led(t, c.made))
		child.Dir = "/"
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: 61002}}
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("user %d: %v, want %q in\n%s", uid, err, c.want, out)
		}
	}
}

// What was said to be replaced is, also when the power is cut at once.
func TestLabPowerCut(t *testing.T) {
	dir := t.TempDir()
	image, drive, after := dir+"/image", dir+"/drive", dir+"/after"
	sh(t, "truncate -s 16M "+image+"; mkfs.ext4 -q "+image+"; mkdir "+drive+" "+after+"; mount -o loop "+image+" "+drive)
	t.Cleanup(func() { sh(t, "umount "+drive) })
	file := drive + "/file"
	sh(t, "echo old > "+file+"; sync -f "+file)
	if err := opened(t, file).Replace([]byte("new\n"), nil, nil); err != nil {
		t.Fatal(err)
	}
	// What the disk has, and not what the kernel alone knows.
	sh(t, "cp "+image+" "+image+"-cut; mount -o loop "+image+"-cut "+after)
	text := sh(t, "cat "+after+"/file; umount "+after)
	if text != "new\n" {
		t.Errorf("after a power cut it is %q", text)
	}
}
