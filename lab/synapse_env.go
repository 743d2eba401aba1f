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
func addSynapse(ctx context.Context, release Release) (name string, err error) {
	name = "synapse-" + netwatch.Fingerprint([]byte(synapsePins))[:12]
	var more []string
	if release != Here {
		version, err := release.python(ctx)
		if err != nil {
			return "", err
		}
		name += "-" + version
		more = []string{"--python-version", version, "--target"}
	}
	_, err = cached(name, func(dir string) error { return installPins(ctx, dir, synapsePins, more) })
	if err != nil {
		return "", fmt.Errorf("installing Synapse from PyPI: %w", err)
	}
	return name, nil
}

// installPins makes the environment of Debian's Python, which the server has
// too; another one may come before it in the PATH. Another release has another,
// for which pip has the place and the version. What pip unpacks on its way goes
// into the environment, so that nothing lies about when this is killed.
func installPins(ctx context.Context, dir, pins string, more []string) error {
	if _, err := run(ctx, "/usr/bin/python3", "-m", "venv", "--clear", dir); err != nil {
		return netwatch.WithHint(err, "make deps installs Debian's python3-venv")
	}
	install := []string{
		"nice", "env", "TMPDIR=" + dir, filepath.Join(dir, "bin", "python"), "-m", "pip", "install",
		"--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "-r", "/dev/stdin",
	}
	if len(more) > 0 {
		install = append(append(install, more...), filepath.Join(dir, "lib", "python"+more[1], "site-packages"))
	}
	_, err := runInput(ctx, strings.NewReader(pins), install...)
	return err
}
