//go:build lab

package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests need root.

// A file may have more attributes than memory: they are read up to 64 KiB, with their names.
func TestLabAttributesAreBounded(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("netwatch-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "coturn.conf")
	if err := os.WriteFile(file, []byte("realm=r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := unix.Setxattr(file, fmt.Sprintf("user.%d", i), bytes.Repeat([]byte("x"), 32<<10-6), 0); err != nil {
			t.Fatal(err)
		}
		f, err := Open(file)
		if well := i < 2; (err == nil) != well || !well && !errors.Is(err, errAttributes) {
			t.Errorf("%d attributes: %v", i+1, err)
		}
		if err == nil {
			f.Close()
		}
	}
}
