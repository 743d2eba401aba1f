package actions

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseStatus(t *testing.T) {
	got, ok := parseStatus([]byte("Name:\tturnserver\nUid:\t1\t2\t3\t110\nGid:\t4\t5\t6\t113\nFDSize:\t64\nGroups:\t113 114 \n"))
	want := reader{uid: 110, gid: 113, groups: []uint32{113, 114}, running: true}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reader{})); diff != "" || !ok {
		t.Error(diff, ok)
	}
	if _, ok := parseStatus([]byte("Name:\tturnserver\nUid:\t1\t2\t3\t110\n")); ok {
		t.Error("no Gid, no reader")
	}
}

// Coturn is known by its name and the file by whatever path.
func TestStartedWith(t *testing.T) {
	file := conf(t, "203.0.113.5")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	o, err := openOriginal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, c := range []struct {
		want bool
		args []string
	}{
		{true, []string{"/usr/bin/turnserver", "-c", file, "--pidfile="}},
		{true, []string{"turnserver", "-c", link}},
		{true, []string{"turnserver", "-c" + file}},
		{true, []string{"turnserver", "--config=" + link}},
		{false, []string{"turnserver", "-c", "/etc/passwd"}},
		{false, []string{"turnserver", "-c", file + "2"}},
		{false, []string{"turnserver"}},
		{false, []string{"vi", file}},
		{false, []string{""}},
	} {
		if got := o.startedWith(c.args); got != c.want {
			t.Errorf("%q: %v", c.args, got)
		}
	}
}

// Who may not act as another finds that out, and stays who he is.
func TestTry(t *testing.T) {
	file := conf(t, "203.0.113.5")
	uid, gid := os.Geteuid(), os.Getegid()
	other := reader{uid: 65534, gid: 65534, groups: []uint32{65534}}
	if err := errors.Join(os.Chmod(file, 0o600), os.Chmod(filepath.Dir(file), 0o755)); err != nil {
		t.Fatal(err)
	}
	want := error(unix.EACCES)
	if uid != 0 {
		want = errNoOther
	}
	for range 20 {
		if err := other.try(file); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		if text, err := os.ReadFile(file); err != nil || len(text) == 0 || os.Geteuid() != uid || os.Getegid() != gid {
			t.Fatalf("we are not ourselves any more: %v", err)
		}
	}
}
