package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"netwatch/lab"
)

// startRounds is how often each is started.
const startRounds = 50

// size weighs the programs and starts them.
func (b *bench) size(ctx context.Context) error {
	program, made := weigh("bin/netwatch"), int64(0)
	for _, deb := range glob("dist/netwatch_*_" + runtime.GOARCH + ".deb") {
		made = weigh(deb)
	}
	if program == 0 || made == 0 {
		return errors.New("there is no bin/netwatch, or no package in dist: make deb")
	}
	dir, err := os.MkdirTemp("/var/tmp", "netwatch-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var ours, theirs lab.Times
	for range startRounds {
		for _, start := range []struct {
			times *lab.Times
			once  func(context.Context, string) (time.Duration, error)
		}{{&ours, startNetwatch}, {&theirs, startWebhook}} {
			took, err := start.once(ctx, dir)
			if err != nil {
				return err
			}
			*start.times = append(*start.times, took)
		}
	}
	s := newSheet("what", "program MB", "against webhook", "package MB", "against webhook", "start ms", "against webhook")
	webhook, itsPackage := weigh("/usr/bin/webhook"), packageSize(ctx, "webhook")
	row := func(name string, program, pack int64, start ...any) {
		s.row(append([]any{name, mb(program), ratio(program, webhook), mb(pack), ratio(pack, itsPackage)}, start...)...)
	}
	row("netwatch, until READY=1", program, made, ours.Median(), ratio(ours.Median(), theirs.Median()))
	row("webhook, until it takes a connection", webhook, itsPackage, theirs.Median(), "1")
	row("inadyn", weigh("/usr/sbin/inadyn"), packageSize(ctx, "inadyn"), "-", "-")
	return s.end()
}

func glob(pattern string) []string {
	files, _ := filepath.Glob(pattern) // The patterns here are well-formed.
	return files
}

// packageSize is the size of a package of Debian's in bytes, or 0.
func packageSize(ctx context.Context, name string) int64 {
	text, _ := exec.CommandContext(ctx, "apt-cache", "show", "--no-all-versions",
		name).Output() // Without it there is none.
	return field(text, "Size:")
}

// weigh is the size of a file in bytes, or 0.
func weigh(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// startNetwatch is how long netwatch takes until it tells systemd that it is
// ready.
func startNetwatch(ctx context.Context, dir string) (time.Duration, error) {
	config := filepath.Join(dir, "netwatch.toml")
	text := fmt.Sprintf("[daemon]\nsocket = \"%s/s\"\nstate = \"%[1]s/state\"\n[source.stun]\nservers = "+
		"[\"127.0.0.1:9\"]\nagree = 1\n[source.netlink]\n%[2]s", dir, ruleCoturn)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return 0, err
	}
	notify := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	defer os.Remove(notify)
	cmd := exec.CommandContext(ctx, "bin/netwatch", "-c", config, "run")
	cmd.Env = []string{"NOTIFY_SOCKET=" + notify, asUnit}
	return started(cmd, func() error {
		buf := make([]byte, 100)
		n, err := l.Read(buf)
		if err == nil && !strings.HasPrefix(string(buf[:n]), "READY=1") {
			err = fmt.Errorf("netwatch says %q", buf[:n])
		}
		return err
	})
}

// startWebhook is how long webhook takes from its start until it takes a connection:
// by nothing else does it show that it is ready.
func startWebhook(ctx context.Context, dir string) (time.Duration, error) {
	hooks := filepath.Join(dir, "hooks.json")
	if err := os.WriteFile(hooks, []byte(webhookConf), 0o600); err != nil {
		return 0, err
	}
	return started(exec.CommandContext(ctx, "webhook", "-hooks", hooks, "-ip", "127.0.0.1", "-port", "9124"),
		func() error {
			for end := time.Now().Add(patience); time.Now().Before(end); {
				if c, err := net.Dial("tcp", "127.0.0.1:9124"); err == nil {
					return c.Close()
				}
				<-time.After(100 * time.Microsecond)
			}
			return errors.New("webhook does not take connections")
		})
}

// started runs a program until ready returns, and kills it.
func started(cmd *exec.Cmd, ready func() error) (time.Duration, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err := ready()
	took := time.Since(began)
	_ = cmd.Process.Kill() // It may have ended.
	_ = cmd.Wait()         // It was killed.
	return took, err
}
