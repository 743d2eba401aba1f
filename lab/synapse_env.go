package lab

import (
	"context"
	_ "embed" // The pinned requirements.
	"fmt"
	"path/filepath"
	"strings"

	"netwatch"
)

// synapsePins are what pip(1) installs.
//
//go:embed synapse-requirements.txt
var synapsePins string

// addSynapse makes a virtual environment with Synapse in the cache, unless it
// is there, and returns its name. What is run in it as a module, as YunoHost does,
// does not care where it lies.
func addSynapse(ctx context.Context) (name string, err error) {
	name = "synapse-" + netwatch.Fingerprint([]byte(synapsePins))[:12]
	_, err = cached(name, func(dir string) error { return installSynapse(ctx, dir) })
	if err != nil {
		return "", fmt.Errorf("installing Synapse from PyPI: %w", err)
	}
	return name, nil
}

// installSynapse makes the environment of Debian's Python, which the server has
// too; another one may come before it in the PATH. What pip unpacks on its way
// goes into it, so that nothing lies about when this is killed.
func installSynapse(ctx context.Context, dir string) error {
	if _, err := run(ctx, "/usr/bin/python3", "-m", "venv", "--clear", dir); err != nil {
		return netwatch.WithHint(err, "make deps installs Debian's python3-venv")
	}
	_, err := runInput(ctx, strings.NewReader(synapsePins), "env", "TMPDIR="+dir, filepath.Join(dir, "bin", "python"),
		"-m", "pip", "install",
		"--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "-r", "/dev/stdin")
	return err
}
