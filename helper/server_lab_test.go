//go:build lab

package helper

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch/access"
)

// Who is not the daemon's user is refused by who he is, though the socket lets him in.
func TestLabStrangerIsRefused(t *testing.T) {
	dir := t.TempDir()
	addr := &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, addr.Name: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for uid, refused := range map[int]bool{0: false, 61001: true} {
		var conn net.Conn
		if err := (access.User{UID: uid}).Connect(func() (err error) {
			conn, err = net.DialUnix("unix", nil, addr)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		go func() { // Ends with the connection.
			if end, err := l.AcceptUnix(); err == nil {
				_ = Server{}.Serve(context.Background(), end)
			}
		}()
		var a answer
		_ = json.NewEncoder(conn).Encode(request{})
		if err := json.NewDecoder(conn).Decode(&a); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
		if got := strings.Contains(a.Error, "may not have files rewritten"); got != refused {
			t.Errorf("user %d is told %s", uid, a.Error)
		}
	}
}
