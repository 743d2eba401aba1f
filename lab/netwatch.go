package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// InstallNetwatch builds the netwatch of a source tree and puts it into the
// server with its unit, which is not started.
func (s *Server) InstallNetwatch(ctx context.Context, tree string) error {
	build := command(ctx, "go", "build", "-o", s.path("/usr/bin/netwatch"), "./cmd/netwatch")
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building netwatch: %w: %s", err, out)
	}
	unit, err := os.ReadFile(filepath.Join(tree, "packaging", "netwatch.service"))
	if err != nil {
		return fmt.Errorf("reading netwatch's unit: %w", err)
	}
	return s.WriteFile("/etc/systemd/system/netwatch.service", string(unit), 0o644)
}
