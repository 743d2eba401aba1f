// Demo shows netwatch's main job on loopback, as any user and in seconds: the
// real `netwatch run`, three STUN servers that say what the demo tells them,
// and a scratch coturn.conf. An exec step stands where systemd would be.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"netwatch"
	"netwatch/sources/stuntest"
)

// patience is how long the demo waits for anything before it calls it broken.
const patience = 10 * time.Second

var (
	oldAddress = netip.MustParseAddr("203.0.113.10")
	newAddress = netip.MustParseAddr("198.51.100.77")
	lie        = netip.MustParseAddr("192.0.2.66")
)

const coturnConf = `# A scratch coturn.conf.
listening-port=3478
external-ip=203.0.113.10
static-auth-secret=not-a-secret
`

const configuration = `[daemon]
socket = "%[1]s/netwatch.sock"
state  = "%[1]s/state"

[source.stun]
servers  = [%[2]s]
every    = "1s"
agree    = 2
families = ["ipv4"]

[[rule]]
on = ["ip-changed"]
do = [
  "rotate coturn %[1]s/coturn.conf",
  "exec /bin/true",
]
`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo NETWATCH (the program to show; `make demo` builds it)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := show(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// show sets the stage in a temporary directory, plays, and cleans up.
func show(ctx context.Context, program string) (err error) {
	dir, err := os.MkdirTemp("", "netwatch-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	servers, err := startServers()
	if err != nil {
		return fmt.Errorf("starting the STUN servers: %w", err)
	}
	defer servers.close()
	s := &stage{dir: dir, servers: servers}
	if s.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	return s.play(ctx)
}

// A stage is what the play needs.
type stage struct {
	dir     string
	program string
	servers servers
	entries <-chan netwatch.Entry
	// changed is the moment from which the play counts.
	changed time.Time
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) write() error {
	text := fmt.Sprintf(configuration, s.dir, s.servers.list())
	return errors.Join(
		os.WriteFile(s.path("coturn.conf"), []byte(coturnConf), 0o600),
		os.WriteFile(s.path("netwatch.toml"), []byte(text), 0o600),
	)
}

// play runs the daemon and shows three scenes.
func (s *stage) play(ctx context.Context) (err error) {
	var log bytes.Buffer
	daemon := s.command(ctx, "run")
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("starting netwatch: %w", err)
	}
	defer func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		if waited := daemon.Wait(); err != nil {
			err = fmt.Errorf("%w\n%s", errors.Join(err, waited), log.String())
		}
	}()
	if err := s.follow(ctx); err != nil {
		return err
	}
	fmt.Println("netwatch runs. It asks one of three STUN servers every second, and believes what two say.")
	fmt.Println("Where systemd would restart coturn, after a change only, stands a program that always runs: /bin/true.")
	for _, scene := range []func(context.Context) error{s.start, s.change, s.lie, s.fire} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	fmt.Println("\nThat was all; nothing is left behind. `make lab-demo` (root, Debian) shows it with systemd, coturn and a router.")
	return nil
}

// start waits until the present address is known.
func (s *stage) start(ctx context.Context) error {
	s.changed = time.Now()
	fmt.Printf("\n1. It starts, and learns the public address. coturn.conf is right already:\n\n")
	if err := s.until(ctx, netwatch.EntryRun); err != nil {
		return err
	}
	return s.expect(oldAddress)
}

// change gives the line another address.
func (s *stage) change(ctx context.Context) error {
	fmt.Printf("\n2. The line gets another address, which only the outside can see: %s → %s\n\n", oldAddress, newAddress)
	s.changed = time.Now()
	s.servers.say(newAddress)
	if err := s.until(ctx, netwatch.EntryRun); err != nil {
		return err
	}
	return s.expect(newAddress)
}

// lie has one server of three say something else.
func (s *stage) lie(ctx context.Context) error {
	fmt.Printf("\n3. One server of the three lies: %s. It is asked, the others are, and they do not agree with it:\n\n", lie)
	s.servers[0].Set(lie)
	asked := s.servers[0].Requests()
	deadline := time.Now().Add(patience)
	for s.servers[0].Requests() < asked+2 { // the second time, the first answer has been dealt with
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.New("the lying server was not asked")
		}
		select {
		case e := <-s.entries:
			return fmt.Errorf("the lie had an effect: %+v", e)
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Println("   nothing happened.")
	s.servers[0].Set(newAddress)
	return s.expect(newAddress)
}

// fire asks by hand.
func (s *stage) fire(ctx context.Context) error {
	fmt.Printf("\n4. By hand: netwatch fire ip-changed. It looks again, and there is nothing to rewrite:\n\n")
	out, err := s.command(ctx, "fire", "ip-changed").CombinedOutput()
	fmt.Print(indent(string(out)))
	if err != nil {
		return fmt.Errorf("firing ip-changed: %w", err)
	}
	return s.expect(newAddress)
}

// expect shows the file's line and checks it.
func (s *stage) expect(want netip.Addr) error {
	text, err := os.ReadFile(s.path("coturn.conf"))
	if err != nil {
		return err
	}
	if string(text) != strings.Replace(coturnConf, oldAddress.String(), want.String(), 1) {
		return fmt.Errorf("coturn.conf is not as expected:\n%s", text)
	}
	fmt.Printf("\n   coturn.conf: external-ip=%s\n", want)
	return nil
}

func (s *stage) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, append(args, "--config", s.path("netwatch.toml"))...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	return cmd
}

// follow reads the history as `netwatch history -f` prints it, once the daemon
// is there to be asked.
func (s *stage) follow(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for s.command(ctx, "status").Run() != nil {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.New("netwatch does not answer")
		}
	}
	history := s.command(ctx, "history", "-f", "--json")
	out, err := history.StdoutPipe()
	if err != nil {
		return err
	}
	if err := history.Start(); err != nil {
		return err
	}
	entries := make(chan netwatch.Entry)
	go read(ctx, out, entries) // ends with the daemon, and with it the pipe
	s.entries = entries
	return nil
}

func read(ctx context.Context, in io.Reader, entries chan<- netwatch.Entry) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var e netwatch.Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		select {
		case entries <- e:
		case <-ctx.Done():
			return
		}
	}
}

// until prints entries up to one of a kind.
func (s *stage) until(ctx context.Context, kind string) error {
	for {
		select {
		case e := <-s.entries:
			s.print(e)
			if e.Kind == kind {
				return nil
			}
		case <-time.After(patience):
			return errors.New("netwatch reported nothing more")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// print prints an entry with the time since the change.
func (s *stage) print(e netwatch.Entry) {
	text := e.Rule
	switch e.Kind {
	case netwatch.EntryEvent:
		text = e.Event
		for _, key := range []string{"family", "old", "new", "by"} {
			if v := e.Fields[key]; v != "" {
				text += fmt.Sprintf(" %s=%s", key, v)
			}
		}
	case netwatch.EntryStep:
		text = strings.ReplaceAll(e.Step, s.dir+"/", "")
	}
	for _, more := range []string{string(e.Outcome), e.Detail, e.Error} {
		if more != "" {
			text += ": " + more
		}
	}
	fmt.Printf("   %6.3f s  %-5s  %s\n", max(0, e.Time.Sub(s.changed).Seconds()), e.Kind, text)
}

// servers are STUN servers that all say the same, until one is told otherwise.
type servers []*stuntest.Server

func startServers() (servers, error) {
	var all servers
	for range 3 {
		s, err := stuntest.New()
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, s)
	}
	all.say(oldAddress)
	return all, nil
}

func (all servers) say(a netip.Addr) {
	for _, s := range all {
		s.Set(a)
	}
}

func (all servers) close() {
	for _, s := range all {
		_ = s.Close()
	}
}

// list is the servers as netwatch.toml names them.
func (all servers) list() string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = fmt.Sprintf("%q", s.Addr())
	}
	return strings.Join(quoted, ", ")
}

func indent(text string) string {
	return "   " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n   ") + "\n"
}
