package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// netwatchUnit is used as long as there is no unit to be packaged.
const netwatchUnit = `[Service]
Type=notify
ExecStart=/usr/bin/netwatch run
RuntimeDirectory=netwatch
StateDirectory=netwatch
`

// InstallNetwatch builds the netwatch of a source tree and puts it into the
// server with its unit, which is not started.
func (s *Server) InstallNetwatch(ctx context.Context, tree string) error {
	build := command(ctx, "go", "build", "-o", s.path("/usr/bin/netwatch"), "./cmd/netwatch")
	build.Dir = tree
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building netwatch: %w: %s", err, out)
	}
	unit, err := os.ReadFile(filepath.Join(tree, "packaging", "netwatch.service")) // Our own source.
	if errors.Is(err, os.ErrNotExist) {
		unit, err = []byte(netwatchUnit), nil
	}
	if err != nil {
		return fmt.Errorf("reading netwatch's unit: %w", err)
	}
	return s.WriteFile("/etc/systemd/system/netwatch.service", string(unit), 0o644)
}
