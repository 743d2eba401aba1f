// Labdemo shows netwatch's main job on the real thing, as root on Debian and in
// seconds: a booted system with systemd and coturn behind a NAT router, whose
// public address changes, and a caller on the internet side.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"netwatch/lab"
)

// every is how often netwatch asks a STUN server.
const every = "1s"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := show(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab-demo:", err)
		os.Exit(1)
	}
}

// show builds the lab, plays, and takes the lab down.
func show(ctx context.Context) (err error) {
	fmt.Println("Building a small internet, a router and a server (network namespaces and a container) ...")
	world, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	s := stage{world: world, caller: lab.Caller{Namespace: world.Inet, Secret: lab.Secret}}
	if err := s.build(ctx); err != nil {
		return err
	}
	for n := range 3 {
		if err := s.change(ctx, lab.Public(10+n)); err != nil {
			return err
		}
	}
	return s.history(ctx)
}

// A stage is the lab and the caller on its internet side.
type stage struct {
	world  *lab.Lab
	server *lab.Server
	caller lab.Caller
}

// build boots the server with coturn and netwatch on it.
func (s *stage) build(ctx context.Context) (err error) {
	if s.server, err = s.world.Boot(ctx, lab.Here); err != nil {
		return err
	}
	var servers []string
	for n := range lab.StunServers {
		stun, err := s.world.StartStun(ctx, n)
		if err != nil {
			return err
		}
		servers = append(servers, fmt.Sprintf("%q", stun.Addr()))
	}
	if err := s.server.Install(ctx, lab.YunoHost, lab.FirstPublic); err != nil {
		return err
	}
	fmt.Printf("systemd and coturn run behind the router, whose public address is %s.\n", lab.FirstPublic)
	if err := s.wait(ctx, lab.FirstPublic); err != nil {
		return err
	}
	return s.watch(ctx, servers)
}

// watch starts netwatch on the server.
func (s *stage) watch(ctx context.Context, servers []string) error {
	text := fmt.Sprintf(`[source.stun]
servers = [%s]
every = "%s"
families = ["ipv4"]

[[rule]]
on = ["started", "ip-changed"]
do = ["rotate coturn %s", "restart %s"]
`, strings.Join(servers, ", "), every, lab.YunoHost.File, lab.YunoHost.Unit)
	if err := s.server.InstallNetwatch(ctx, "."); err != nil {
		return err
	}
	if err := s.server.WriteFile("/etc/netwatch/netwatch.toml", text, 0o644); err != nil {
		return err
	}
	fmt.Printf("\nnetwatch starts, with this configuration:\n\n%s\n", indent(text))
	if _, err := s.server.Exec(ctx, "systemctl", "start", "netwatch.service"); err != nil {
		return err
	}
	_, err := s.server.Exec(ctx, "netwatch", "fire", "ip-changed") // until what it did at its start is done
	return err
}

// change has the router get another address, and waits until a caller is right.
func (s *stage) change(ctx context.Context, to netip.Addr) error {
	fmt.Printf("The router's public address becomes %s. Nobody touches the server ...\n", to)
	changed := time.Now()
	if err := s.world.SetPublic(ctx, to); err != nil {
		return err
	}
	if err := s.wait(ctx, to); err != nil {
		return err
	}
	fmt.Printf("    %.2f s later a caller who allocates there is told to relay over %s.\n", time.Since(changed).Seconds(), to)
	return nil
}

// wait waits until a caller at the router's address gets a relay there.
func (s *stage) wait(ctx context.Context, at netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := s.caller.WaitAllocate(ctx, netip.AddrPortFrom(at, lab.Port), at)
	return err
}

// history prints what netwatch says that it did.
func (s *stage) history(ctx context.Context) error {
	if _, err := s.server.Exec(ctx, "netwatch", "fire", "ip-changed"); err != nil { // until the last run has ended
		return err
	}
	text, err := s.server.Exec(ctx, "netwatch", "history")
	fmt.Printf("\nnetwatch history, on the server:\n\n%s\n", indent(text))
	return err
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}
