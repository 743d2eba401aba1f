package netwatch_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
)

// What is no regular file is not opened, and nobody is waited for.
func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := errors.Join(
		os.WriteFile(at("file"), []byte("text"), 0o600), unix.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("directory"), 0o700),
		os.Symlink("file", at("link")), os.Symlink("pipe", at("link to a pipe")), os.Symlink("loop", at("loop")),
		os.WriteFile(at("large"), []byte(strings.Repeat("x", 1025)), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"file": "", "link": "",
		"pipe": "not a regular file (a pipe)", "link to a pipe": "not a regular file (a pipe)",
		"directory": "not a regular file (a directory)", "socket": "not a regular file (a socket)",
		"/dev/null": "not a regular file (a device)", "large": "it is larger than 1 KiB",
		"loop": "too many levels of symbolic links", "none": "no such file",
	} {
		path := name
		if !filepath.IsAbs(name) {
			path = at(name)
		}
		text, err := netwatch.ReadRegular(path, 1024)
		switch {
		case want == "" && (err != nil || string(text) != "text"):
			t.Errorf("%s: %q, %v", name, text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
	if _, _, err := netwatch.OpenRegular(at("link"), unix.O_NOFOLLOW); !errors.Is(err, netwatch.ErrNotRegular) {
		t.Errorf("a link that is not followed: %v", err)
	}
}

// Who holds a lease on his file does not hold up who reads it.
func TestReadLeased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	var failed *fs.PathError
	if _, err := netwatch.ReadRegular(path, 1); !errors.Is(err, unix.EAGAIN) || !errors.As(err, &failed) {
		t.Errorf("a file that another holds: %v", err)
	}
}
