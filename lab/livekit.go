package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"netwatch"
)

// A LiveKit is an installation of LiveKit.
type LiveKit struct {
	// File is its configuration, and Unit its systemd unit.
	File, Unit string
	// Port is where it is asked; callers come to the next two.
	Port uint16
	// Flags stand behind the file in its command line.
	Flags string
	// Version is that of its program.
	Version string
}

// Calls and SecondCalls are LiveKit as two instances of YunoHost's app have it.
var (
	Calls       = FirstApp.calls(7880)
	SecondCalls = SecondApp.calls(7890)
)

func (a App) calls(port uint16) LiveKit {
	return LiveKit{
		File: a.dir() + "/livekit.yml", Unit: a.Name + "-livekit.service", Port: port, Version: LiveKitVersions[0],
	}
}

// CallPorts are what the router has to hand on for both. CallSecret is what they know.
const (
	CallPorts  = "7880-7882, 7890-7892"
	CallSecret = "the-lab's-own-secret-of-36-letters-xx"
)

// LiveKitVersions are the nearest to what YunoHost has that can be installed, and the newest.
var LiveKitVersions = []string{"1.9.11", "1.13.5"}

// livekitConf has three ports and node_ip's line, or nothing.
const livekitConf = `# Calls
port: %d
rtc:
  # ports
  tcp_port: %d
  udp_port: %d
%s  use_external_ip: false
keys:
  element_call: ` + CallSecret + `
room:
  auto_create: false
`

// conf is its configuration with a line for node_ip, which may be empty.
func (l LiveKit) conf(line string) string {
	if line != "" {
		line = "  " + line + "\n"
	}
	return fmt.Sprintf(livekitConf, l.Port, l.Port+1, l.Port+2, line)
}

// livekitUnit has the program, the file and the flags.
const livekitUnit = `[Unit]
Description=LiveKit
After=network.target

[Service]
User=synapse
ExecStart=%s --config %s %s
Restart=on-failure
`

// addLiveKit makes LiveKit in the cache, unless it is there, which takes minutes, and
// returns where a server sees it.
func addLiveKit(ctx context.Context, version string) (program string, err error) {
	name := "livekit-" + version
	_, err = cached(name, func(dir string) error {
		build := command(ctx, "nice", "go", "install", "github.com/livekit/livekit-server/cmd/server@v"+version)
		build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-p=1", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return os.Rename(filepath.Join(dir, "server"), filepath.Join(dir, "livekit-server"))
	})
	if err != nil {
		return "", fmt.Errorf("installing LiveKit: %w", err)
	}
	return filepath.Join(cacheInside, name, "livekit-server"), nil
}

// InstallLiveKit starts LiveKit afresh with a line for node_ip, which may be empty.
func (s *Server) InstallLiveKit(ctx context.Context, l LiveKit, line string) error {
	program, err := addLiveKit(ctx, l.Version)
	if err != nil {
		return err
	}
	files := map[string]string{
		l.File:                          l.conf(line),
		"/etc/systemd/system/" + l.Unit: fmt.Sprintf(livekitUnit, program, l.File, l.Flags),
	}
	for name, text := range files {
		if err := s.WriteFile(name, text, 0o640); err != nil {
			return err
		}
	}
	_, err = s.Exec(ctx, "sh", "-c", fmt.Sprintf("chown synapse:synapse %s && systemctl daemon-reload && "+
		"{ systemctl reset-failed %s 2>/dev/null; systemctl restart %[2]s; }", l.File, l.Unit))
	return err
}

// RemoveLiveKit takes away what InstallLiveKit made. Whom it still has as a caller is not
// waited for.
func (s *Server) RemoveLiveKit(ctx context.Context, l LiveKit) error {
	_, err := s.Exec(ctx, "sh", "-c", fmt.Sprintf("systemctl kill -s KILL %[1]s; systemctl stop %[1]s; "+
		"rm -rf /etc/systemd/system/%[1]s /etc/systemd/system/%[1]s.d %s; systemctl daemon-reload; "+
		"systemctl reset-failed %[1]s 2>/dev/null || true", l.Unit, l.File))
	return err
}

// Calls makes the program by which callers on the internet call, unless it is there.
func (l *Lab) Calls(ctx context.Context) error {
	program := filepath.Join(l.dir, "call")
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	build := command(ctx, "go", "build", "-o", program, "netwatch/lab/call")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building call: %w: %s", err, out)
	}
	return nil
}

// call is the command line of a caller on the internet.
func (l *Lab) call(ctx context.Context, at netip.AddrPort, more ...string) ([]string, error) {
	if err := l.Calls(ctx); err != nil {
		return nil, err
	}
	program := filepath.Join(l.dir, "call")
	return inNet(l.Inet, append([]string{program, at.String(), "element_call", CallSecret}, more...)...), nil
}

// Call asks LiveKit at an address for candidates, as a caller on the internet does, and
// returns their addresses.
func (l *Lab) Call(ctx context.Context, at netip.AddrPort) (all []string, err error) {
	line, err := l.call(ctx, at)
	if err != nil {
		return nil, err
	}
	out, err := run(ctx, line...)
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 1 {
			all = append(all, words[1])
		}
	}
	return all, err
}

// WaitCall waits until a caller at an address gets a candidate with another, and returns
// when that was.
func (l *Lab) WaitCall(ctx context.Context, at netip.AddrPort, want netip.Addr) (time.Time, error) {
	for {
		all, err := l.Call(ctx, at)
		if err == nil && strings.Contains(" "+strings.Join(all, " ")+" ", " "+want.String()+" ") {
			return time.Now(), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			err = errors.Join(fmt.Errorf("calling %s: %w: it says %v", at, context.Cause(ctx), all), err)
			return time.Time{}, netwatch.WithHint(err, "see the journal of LiveKit")
		}
	}
}

// HoldCall is a caller at an address who stays until the function that it returns is
// called, or LiveKit loses him.
func (l *Lab) HoldCall(ctx context.Context, at netip.AddrPort) (hangUp func(), err error) {
	line, err := l.call(ctx, at, "hold")
	if err != nil {
		return nil, err
	}
	held := command(ctx, line...)
	out, err := held.StdoutPipe()
	if err == nil {
		err = held.Start()
	}
	if err != nil {
		return nil, err
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && said != "open <nil>\n" {
		err = fmt.Errorf("calling %s: %s", at, said)
	}
	return func() { _ = held.Process.Kill(); _ = held.Wait() }, err
}
