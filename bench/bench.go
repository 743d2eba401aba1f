package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netwatch/lab"
)

// A bench is the lab, which is built for the first table that needs it.
type bench struct {
	world  *lab.Lab
	server *lab.Server
	// stun are the addresses of STUN servers, as a list of TOML.
	stun   string
	caller lab.Caller
}

// patience is how long anything may take in the lab before it counts as broken.
const patience = 30 * time.Second

// build makes the lab: STUN servers on an internet, a router, and a server with
// coturn and netwatch, which is not started.
func (b *bench) build(ctx context.Context) (err error) {
	if b.world != nil {
		return nil
	}
	if b.world, err = lab.New(ctx); err != nil {
		return err
	}
	b.caller = lab.Caller{Namespace: b.world.Inet, Secret: lab.Secret}
	if b.server, err = b.world.Boot(ctx, lab.Here); err != nil {
		return err
	}
	var servers []string
	for n := range lab.StunServers {
		stun, err := b.world.StartStun(ctx, n)
		if err != nil {
			return err
		}
		servers = append(servers, fmt.Sprintf("%q", stun.Addr()))
	}
	b.stun = strings.Join(servers, ", ")
	// A unit that is started a hundred times in a minute is part of measuring.
	const unlimited = "[Unit]\nStartLimitIntervalSec=0\n"
	for _, unit := range []string{lab.YunoHost.Unit, "netwatch.service"} {
		if err := b.server.WriteFile("/etc/systemd/system/"+unit+".d/bench.conf", unlimited, 0o644); err != nil {
			return err
		}
	}
	// A daemon that is stopped, to be a hung one, is to stay so.
	if err := b.server.WriteFile("/etc/systemd/system/netwatch.service.d/dog.conf", "[Service]\nWatchdogSec=0\n",
		0o644); err != nil {
		return err
	}
	if err := b.copySelf(); err != nil {
		return err
	}
	return errors.Join(b.server.Install(ctx, lab.YunoHost, lab.FirstPublic), b.server.InstallNetwatch(ctx, "."))
}

// close takes the lab down.
func (b *bench) close() error {
	if b.world == nil {
		return nil
	}
	return b.world.Close()
}

// self is where this program is in the server.
const self = "/usr/local/bin/netwatch-bench"

// copySelf puts this program into the server.
func (b *bench) copySelf() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close() // Nothing was written
	to, err := os.OpenFile(filepath.Join(b.server.Root(), self), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// source is a source that asks the lab's STUN servers.
func (b *bench) source(every string) string {
	return fmt.Sprintf("[source.stun]\nservers = [%s]\nevery = %q\nfamilies = [\"ipv4\"]\n", b.stun, every)
}

// ruleCoturn is what netwatch is mostly for.
var ruleCoturn = fmt.Sprintf("[[rule]]\non = [\"started\", \"ip-changed\"]\ndo = [\"rotate coturn %s\", "+
	"\"restart %s\"]\n", lab.YunoHost.File, lab.YunoHost.Unit)

// start starts netwatch afresh with a configuration and waits until it rests.
func (b *bench) start(ctx context.Context, config string) error {
	if err := b.stop(ctx); err != nil {
		return err
	}
	if err := b.server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644); err != nil {
		return err
	}
	if _, err := b.server.Exec(ctx, "sh", "-c", "rm -rf /var/lib/netwatch; systemctl start netwatch.service"); err != nil {
		return err
	}
	return b.rest(ctx)
}

// stop stops netwatch.
func (b *bench) stop(ctx context.Context) error {
	_, err := b.server.Exec(ctx, "systemctl", "stop", "netwatch.socket", "netwatch.service")
	return err
}

// rest waits until netwatch has no more to do.
func (b *bench) rest(ctx context.Context) error {
	return until(ctx, func() error {
		text, err := b.server.Exec(ctx, "netwatch", "status", "--json")
		if err == nil && (strings.Contains(text, `"waiting"`) || strings.Contains(text, `"running"`) ||
			!strings.Contains(text, `"last"`)) {
			err = fmt.Errorf("netwatch does not rest: %s", text)
		}
		return err
	})
}

// until tries again and again, for as long as patience says.
func until(ctx context.Context, try func() error) error { return within(ctx, patience, try) }

// within tries again and again, for as long as that.
func within(ctx context.Context, most time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if wait(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
