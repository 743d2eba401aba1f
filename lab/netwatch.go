package lab

import (
	"context"
	"fmt"
	"os"
)

// InstallNetwatch builds the netwatch of a source tree and installs it in the
// server as an administrator does. It is not started.
func (s *Server) InstallNetwatch(ctx context.Context, tree string) error {
	for _, target := range []string{"build", "install"} {
		cmd := command(ctx, "make", "-s", target, "DESTDIR="+s.root)
		cmd.Dir = tree
		cmd.Env = os.Environ()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing netwatch: make %s: %w: %s", target, err, out)
		}
	}
	if _, err := s.Exec(ctx, "sh", "-c", "systemd-sysusers netwatch.conf && systemctl daemon-reload"); err != nil {
		return fmt.Errorf("installing netwatch: %w", err)
	}
	return nil
}
