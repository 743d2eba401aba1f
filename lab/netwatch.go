package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// InstallNetwatch builds the netwatch of a source tree and installs it in the
// server as an administrator does. It is not started.
func (s *Server) InstallNetwatch(ctx context.Context, tree string) error {
	if err := makeIn(ctx, tree, "make -s build && make -s install DESTDIR="+s.root); err != nil {
		return fmt.Errorf("installing netwatch: %w", err)
	}
	if _, err := s.Exec(ctx, "sh", "-c", "systemd-sysusers netwatch.conf && systemctl daemon-reload"); err != nil {
		return fmt.Errorf("installing netwatch: %w", err)
	}
	return nil
}

// makeIn runs a command line in a source tree. Labs that run side by side do it one
// after the other, since each builds the same file, of a version of its own.
func makeIn(ctx context.Context, tree, line string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(cache, "make.lock"))
	if err != nil {
		return fmt.Errorf("waiting for another lab's make: %w", err)
	}
	defer unlock()
	cmd := command(ctx, "sh", "-c", line)
	cmd.Dir = tree
	cmd.Env = os.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}
