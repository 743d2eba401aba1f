package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// InstallNetwatch builds the netwatch of a source tree and puts it into the
// server with its units, which are not started.
func (s *Server) InstallNetwatch(ctx context.Context, tree string) error {
	build := command(ctx, "go", "build", "-o", s.path("/usr/bin/netwatch"), "./cmd/netwatch")
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building netwatch: %w: %s", err, out)
	}
	for _, unit := range []string{"netwatch.service", "netwatch.socket"} {
		text, err := os.ReadFile(filepath.Join(tree, "packaging", unit))
		if err != nil {
			return fmt.Errorf("reading netwatch's units: %w", err)
		}
		if err := s.WriteFile("/etc/systemd/system/"+unit, string(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
