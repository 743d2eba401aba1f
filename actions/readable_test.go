package actions

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch/access"
)

func TestParseStatus(t *testing.T) {
	got, ok := parseStatus([]byte("Name:\tturnserver\nUid:\t1\t2\t3\t110\nGid:\t4\t5\t6\t113\nFDSize:\t64\nGroups:\t113 114 \n"))
	want := reader{access.User{UID: 110, GID: 113, Groups: []uint32{113, 114}}, true}
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
