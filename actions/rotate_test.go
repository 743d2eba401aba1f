package actions

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/rewrite"
	"netwatch/servers"
	"netwatch/systemd/systemdtest"
)

// known is the public addresses in text as a job gets them.
func known(text string) netwatch.Addresses {
	all := make(netwatch.Addresses)
	for _, word := range strings.Fields(text) {
		a := netip.MustParseAddr(word)
		all[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
	}
	return all
}

// conf writes a configuration of coturn with the address and gives its path.
func conf(t *testing.T, address string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	writeFile(t, file, "realm=r\nexternal-ip="+address+"\nport=3478\n")
	return file
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%s is %q (%v), want %q", file, got, err, want)
	}
}

// wantAlone wants nothing but the named files in their directory.
func wantAlone(t *testing.T, file string, others ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1+len(others) {
		t.Errorf("beside %s: %v %v", file, entries, err)
	}
}

// rotate does the step on the file.
func rotate(t *testing.T, file, public string, changing func(netwatch.Replacement) error) netwatch.Result {
	t.Helper()
	return step(t, Env{}, "rotate coturn "+file).Do(t.Context(),
		netwatch.Job{Confirmed: known(public), Changing: changing})
}

func TestRotateWords(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "what to rotate is missing",
		"openvpn /etc/x":                      `"openvpn" cannot be rotated, only ` + servers.Names(),
		"coturn":                              "the file of coturn is missing",
		"coturn private=auto":                 "the file of coturn is missing",
		"coturn x.conf":                       `"x.conf" is a relative path`,
		"coturn x.conf private=auto":          `"x.conf" is a relative path`,
		"coturn /x private=some":              "private=some is not understood: keep, auto or none",
		"coturn /x private=":                  "private= is not understood",
		"coturn /x always":                    `"always" is not understood after the file`,
		"coturn /x private=keep private=none": `"private=none" is one option too many`,
	} {
		_, err := newRotate(Env{}, "rotate", strings.Fields(line))
		usage := ": rotate " + servers.Usage()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), usage) {
			t.Errorf("rotate %s: %v, want %q", line, err, want)
		}
	}
	s, err := newRotate(Env{}, "rotate", strings.Fields("coturn /etc//x.conf private=none"))
	r, ok := s.Action.(*rotation)
	if err != nil || !ok || r.File != "/etc/x.conf" || r.Server != "coturn" || r.Options["private"] != "none" ||
		!s.Gate || s.Gated {
		t.Errorf("%+v %+v %v", s, r, err)
	}
}

func TestRotate(t *testing.T) {
	file := conf(t, "203.0.113.5")
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	calls := 0
	changing := func(netwatch.Replacement) error {
		calls++
		wantFile(t, file, "realm=r\nexternal-ip=203.0.113.5\nport=3478\n")
		return nil
	}
	wantResult(t, rotate(t, file, "198.51.100.7", changing), netwatch.Changed, "203.0.113.5 → 198.51.100.7")
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7\nport=3478\n")
	wantAlone(t, file)
	if calls != 1 {
		t.Errorf("changing was called %d times", calls)
	}
	if text, err := io.ReadAll(old); err != nil || string(text) != "realm=r\nexternal-ip=203.0.113.5\nport=3478\n" {
		t.Errorf("who had it open now reads %q %v", text, err)
	}
	var before, after unix.Stat_t
	err = errors.Join(unix.Stat(file, &before), os.Chmod(filepath.Dir(file), 0o500))
	wantResult(t, rotate(t, file, "198.51.100.7", changing), netwatch.Unchanged, "198.51.100.7")
	if err := errors.Join(err, unix.Stat(file, &after), os.Chmod(filepath.Dir(file), 0o700)); err != nil {
		t.Fatal(err)
	}
	if before.Ino != after.Ino || before.Ctim != after.Ctim || calls != 1 {
		t.Error("an unchanged file was touched")
	}
}

func TestRotateFromNothing(t *testing.T) {
	file := conf(t, "")
	wantResult(t, rotate(t, file, "2001:db8::7", nil), netwatch.Changed, "0.0.0.0 → 2001:db8::7")
}

func TestRotateKeepsModeAndLinks(t *testing.T) {
	file := conf(t, "203.0.113.5")
	first, second := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(file, second), os.Symlink("../"+filepath.Base(filepath.Dir(second))+"/link", first),
		os.Chmod(file, 0o604)); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, first, "198.51.100.7", nil), netwatch.Changed)
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7\nport=3478\n")
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o604 {
		t.Errorf("the file is %v %v", info.Mode(), err)
	}
	for _, link := range []string{first, second} {
		if to, err := os.Readlink(link); err != nil {
			t.Errorf("%s is no link any more: %q %v", link, to, err)
		}
	}
	wantAlone(t, file)
	wantAlone(t, first)
}

func TestRotateFails(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		writeFile(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	fifo := filepath.Join(dir, "fifo")
	loop := filepath.Join(dir, "loop")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, public, want, hint string }{
		{
			"not known", file("a", "x\n"), "",
			"the public address is not known yet: no server has told it since netwatch started", "netwatch probe",
		},
		{"missing", filepath.Join(dir, "none"), "198.51.100.7", "reading " + dir + "/none: no such file", "turnserver -c"},
		{"directory", dir, "198.51.100.7", "not a regular file", "name the configuration"},
		{"fifo", fifo, "198.51.100.7", "not a regular file", "name the configuration"},
		{"device", "/dev/null", "198.51.100.7", "not a regular file", "name the configuration"},
		{"loop of links", loop, "198.51.100.7", "too many levels of symbolic links", "make the symlink anew"},
		{"empty", file("b", ""), "198.51.100.7", "it is empty: coturn would start as an open relay", "restore it"},
		{
			"too large", file("c", strings.Repeat("#\n", 512<<10)+"#"), "198.51.100.7", "larger than 1 MiB",
			"name the configuration",
		},
		{"no own address", file("d", "relay-ip=10.0.0.1\n"), "198.51.100.7", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rotate(t, c.file, c.public, nil)
			if c.want == "" {
				wantResult(t, got, netwatch.Changed)
				return
			}
			wantResult(t, got, netwatch.Failed, c.want)
			if hint := netwatch.Hint(got.Err); !strings.Contains(hint, c.hint) || (hint == "") != (c.hint == "") {
				t.Errorf("hint %q, want %q", hint, c.hint)
			}
		})
	}
}

// What is not certain is left as it is, and said. Where coturn is not known to be here, the
// private part may be a container's, and the public one is certain all the same.
func TestRotateUncertain(t *testing.T) {
	file := conf(t, "203.0.113.5/192.0.2.77") // No address of this machine
	r := step(t, Env{}, "rotate coturn "+file)
	f := systemdtest.New(t)
	f.Set("ExecStart", []execStart{{Args: []string{"turnserver"}}})
	wantResult(t, r.Do(t.Context(), netwatch.Job{
		Confirmed: known("198.51.100.7"), Steps: []netwatch.Step{r, step(t, Env{}, "restart t.service")},
	}), netwatch.Unchanged, "203.0.113.5; 192.0.2.77 is no address of this machine, and which of them")
	wantFile(t, file, "realm=r\nexternal-ip=203.0.113.5/192.0.2.77\nport=3478\n")
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed,
		"192.0.2.77 is no address of this machine, and stays")
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7/192.0.2.77\nport=3478\n")
}

func TestRotateLargest(t *testing.T) {
	file := conf(t, "203.0.113.5")
	writeFile(t, file, strings.Repeat("#\n", 512<<10))
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
}

func TestRotateChangingFails(t *testing.T) {
	file := conf(t, "203.0.113.5")
	got := rotate(t, file, "198.51.100.7",
		func(netwatch.Replacement) error { return netwatch.WithHint(errors.New("disk full"), "make room") })
	wantResult(t, got, netwatch.Failed, "noting that it changes: disk full", "make room")
	wantFile(t, file, "realm=r\nexternal-ip=203.0.113.5\nport=3478\n")
	wantAlone(t, file)
}

// A crash between creating and renaming leaves a file that is of no use.
func TestRotateLeftOver(t *testing.T) {
	file := conf(t, "203.0.113.5")
	writeFile(t, filepath.Join(filepath.Dir(file), ".coturn.conf.netwatch-new"), "external-ip=1\nhalf a li")
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7\nport=3478\n")
	wantAlone(t, file)
}

// Somebody put a link where the new file is to be written.
func TestRotateTrap(t *testing.T) {
	file, victim := conf(t, "203.0.113.5"), conf(t, "192.0.2.1")
	if err := os.Symlink(victim, filepath.Join(filepath.Dir(file), ".coturn.conf.netwatch-new")); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
	wantFile(t, victim, "realm=r\nexternal-ip=192.0.2.1\nport=3478\n")
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7\nport=3478\n")
}

// What others write while we do is not lost, whether they write in place or
// rename, nor if only the symlink comes to lead elsewhere.
func TestRotateOthersWrite(t *testing.T) {
	for name, other := range map[string]func(file, link, text string) error{
		"in place": func(file, _, text string) error { return os.WriteFile(file, []byte(text), 0o600) },
		"renamed": func(file, _, text string) error {
			return errors.Join(os.WriteFile(file+".tmp", []byte(text), 0o600), os.Rename(file+".tmp", file))
		},
		"link": func(file, link, text string) error {
			return errors.Join(os.WriteFile(file+"2", []byte(text), 0o600), os.Symlink(file+"2", link+"2"),
				os.Rename(link+"2", link))
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := conf(t, "203.0.113.5")
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			got := rotate(t, link, "198.51.100.7", func(netwatch.Replacement) (err error) {
				once.Do(func() { err = other(file, link, "realm=other\nexternal-ip=203.0.113.6\n") })
				return err
			})
			wantResult(t, got, netwatch.Changed, "203.0.113.6 → 198.51.100.7")
			wantFile(t, link, "realm=other\nexternal-ip=198.51.100.7\n")
		})
	}
}

func TestRotateOthersNeverStop(t *testing.T) {
	file := conf(t, "203.0.113.5")
	const tries = 5
	n := 0
	got := rotate(t, file, "198.51.100.7", func(netwatch.Replacement) error {
		n++
		return os.WriteFile(file, fmt.Appendf(nil, "external-ip=203.0.113.%d\n", n), 0o600)
	})
	wantResult(t, got, netwatch.Failed, "changed while it was being rewritten")
	if n != tries || netwatch.Hint(got.Err) == "" {
		t.Errorf("%d tries, hint %q", n, netwatch.Hint(got.Err))
	}
	wantFile(t, file, fmt.Sprintf("external-ip=203.0.113.%d\n", n))
	wantAlone(t, file)
}

// Whoever can read the file can lock it, for as long as he likes: that is no
// matter.
func TestRotateLocked(t *testing.T) {
	file := conf(t, "203.0.113.5")
	held, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := errors.Join(unix.Flock(int(held.Fd()), unix.LOCK_SH), unix.Flock(int(dir.Fd()), unix.LOCK_EX)); err != nil {
		t.Fatal(err)
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
}

// Many rewrite one file at the same time: each has its turn, and loses nothing.
func TestRotateTogether(t *testing.T) {
	file := conf(t, "203.0.113.5")
	var at atomic.Int32
	changing := func(netwatch.Replacement) error {
		if at.Add(1) != 1 {
			t.Error("another came in between")
		}
		runtime.Gosched()
		if at.Add(-1) != 0 {
			return errors.New("another is in between")
		}
		return nil
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			got := rotate(t, file, fmt.Sprintf("198.51.100.%d", i+1), changing)
			if got.Outcome != netwatch.Changed && !errors.Is(got.Err, rewrite.ErrMoved) {
				t.Errorf("%+v", got)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(file)
	before, after, found := strings.Cut(string(text), "external-ip=198.51.100.")
	if err != nil || !found || before != "realm=r\n" || !strings.HasSuffix(after, "\nport=3478\n") {
		t.Errorf("%q %v", text, err)
	}
	wantAlone(t, file)
}

// rotatingFile is set for the process that TestRotateKilled kills.
const rotatingFile = "NETWATCH_TEST_ROTATE_FOREVER"

// At every instant, and whenever the process is killed, the file is the old or
// the new one, whole.
func TestRotateKilled(t *testing.T) {
	if file := os.Getenv(rotatingFile); file != "" {
		rotateForever(t, file)
	}
	file := conf(t, "203.0.113.5")
	long := strings.Repeat("# a long file takes longer to write\n", 1000)
	writeFile(t, file, long+"external-ip=203.0.113.5\n")
	look := func() string {
		t.Helper()
		text, err := os.ReadFile(file)
		address, found := strings.CutPrefix(string(text), long+"external-ip=203.0.113.")
		if _, bad := netip.ParseAddr("203.0.113." + strings.TrimSuffix(address, "\n")); err != nil || !found || bad != nil {
			t.Fatalf("of %d bytes the last are %q: %v %v", len(text), text[max(0, len(text)-60):], err, bad)
		}
		return address
	}
	for range 20 {
		killed(t, file, look)
		look()
	}
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Changed)
	wantAlone(t, file)
}

// rotateForever rewrites until it is killed. It says when it begins.
func rotateForever(t *testing.T, file string) {
	fmt.Println("ready")
	for i := 0; ; i++ {
		got := rotate(t, file, fmt.Sprintf("203.0.113.%d", 1+i%200), nil)
		if got.Outcome == netwatch.Failed {
			t.Fatal(got.Err)
		}
	}
}

// killed starts that process, looks at the file all the time, and kills it at
// some instant after the first change.
func killed(t *testing.T, file string, look func() string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestRotateKilled$")
	child.Env = append(os.Environ(), rotatingFile+"="+file)
	out, err := child.StdoutPipe()
	if err := errors.Join(err, child.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }() // If look fails
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Errorf("the process said %q %v", line, err)
	}
	before, deadline := look(), time.Now().Add(10*time.Second)
	for look() == before {
		if time.Now().After(deadline) {
			t.Fatal("it rewrites nothing")
		}
	}
	for end := time.Now().Add(time.Duration(rand.IntN(5000)) * time.Microsecond); time.Now().Before(end); {
		look()
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("it ended by itself: %v", err)
	}
}

// A file that somebody has open for writing may be half of what it will be, and
// is left alone until he is done.
func TestRotateWaitsForAWriter(t *testing.T) {
	file := conf(t, "203.0.113.5")
	writer, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	wantResult(t, rotate(t, file, "198.51.100.7", nil), netwatch.Failed, "it changed while it was being rewritten")
	wantFile(t, file, "realm=r\nexternal-ip=203.0.113.5\nport=3478\n")
	ended := make(chan netwatch.Result, 1)
	go func() { ended <- rotate(t, file, "198.51.100.7", nil) }()
	if _, err := writer.WriteString("use-auth-secret\n"); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	wantResult(t, <-ended, netwatch.Changed)
	wantFile(t, file, "realm=r\nexternal-ip=198.51.100.7\nport=3478\nuse-auth-secret\n")
}

// A counter is another process that was prepared a number of times.
type counter int

// Prepare counts.
func (c *counter) Prepare() { *c++ }

// Rotate is not there.
func (c *counter) Rotate(
	context.Context, servers.Rotation, func(netwatch.Replacement) error,
) (netwatch.Result, bool) {
	return netwatch.Result{}, false
}

// Who has another process rewrite the file has it start in advance.
func TestRotatePrepares(t *testing.T) {
	prepared := new(counter)
	for _, files := range []Helper{prepared, nil} {
		step, err := newRotate(Env{Files: files}, "rotate", []string{"coturn", "/coturn.conf"})
		if err != nil {
			t.Fatal(err)
		}
		step.Action.(netwatch.Preparer).Prepare()
	}
	if *prepared != 1 {
		t.Errorf("prepared %d times", *prepared)
	}
}
