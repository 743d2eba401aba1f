package actions

import (
	"cmp"
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
)

// versionTime is what a program may take to print its version.
const versionTime = 5 * time.Second

var versionNumber = netwatch.Pattern(`([0-9]+)\.([0-9]+)`)

// versionOf has a program print its version, which is on the first line of what it says. It
// runs none that others could have put there, as the user of an app can whose unit it is.
func versionOf(ctx context.Context, program string) (v servers.Version, said string, err error) {
	if err := access.CheckTrusted(program); err != nil {
		return v, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{cleanPath, cleanLang}, time.Second
	out, err := cmd.Output()
	said, _, _ = strings.Cut(string(out), "\n")
	number := versionNumber().FindStringSubmatch(said)
	if number == nil {
		return v, said, cmp.Or(err, errors.New("no number in its answer"))
	}
	v.Major, _ = strconv.Atoi(number[1])
	v.Minor, _ = strconv.Atoi(number[2])
	return v, strings.TrimSpace(said), nil
}

// maxConf is the size of the largest configuration that is read.
const maxConf = 1 << 20

// version is that of the server which a unit of the rule starts with the file, where that
// decides what may stand in it; else, and where it cannot be found out, none.
func (r *rotation) version(ctx context.Context, steps []netwatch.Step) (v servers.Version) {
	server, err := servers.Named(r.Server)
	if err != nil || server.Versioned == nil {
		return v
	}
	conf, err := netwatch.ReadRegular(r.File, maxConf)
	if err != nil || !server.Versioned(conf) {
		return v
	}
	for _, unit := range NeedsOf(steps...).UnitNames() {
		u, err := r.machine.Bus.Open(ctx, unit, netwatch.Job{})
		if err != nil {
			continue
		}
		st, err := u.State(ctx)
		u.Close()
		if err == nil && st.Starts(r.File) {
			v, _, _ = versionOf(ctx, st.Program)
			return v
		}
	}
	return v
}
