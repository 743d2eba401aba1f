package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Server is a whole Debian, with systemd as its first process, in the
// network namespace Net of a lab. Its files are this machine's or those of another
// release, and what is written to them lasts as long as the lab.
type Server struct {
	lab     *Lab
	release Release
	root    string
	nspawn  *process
	// pid is the server's first process, as seen from here.
	pid int
}

// bootTime is how long a server may take to boot; it takes about a second.
const bootTime = 30 * time.Second

// Boot makes the file system of the lab's server, with users and coturn's files,
// and boots it. The lab's Close shuts it down.
func (l *Lab) Boot(ctx context.Context, release Release) (*Server, error) {
	s := &Server{lab: l, release: release, root: filepath.Join(l.dir, "root")}
	for _, step := range []func(context.Context) error{s.mount, s.clean, s.addUsers, s.start, s.wait} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("booting the server: %w", err)
		}
	}
	return s, nil
}

// mount puts an overlay over the root of the release. What is mounted below this
// machine's is not part of that: neither /proc nor anyone's volumes.
func (s *Server) mount(ctx context.Context) error {
	lower, err := s.release.root(ctx)
	if err != nil {
		return err
	}
	upper, work := filepath.Join(s.lab.dir, "upper"), filepath.Join(s.lab.dir, "work")
	for _, dir := range []string{s.root, upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil { // The root of a system must be passable.
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)
	if err := syscall.Mount("overlay", s.root, "overlay", 0, layers); err != nil {
		return fmt.Errorf("mounting an overlay: %w", err)
	}
	s.lab.later(func() error { return unmount(s.root) })
	return nil
}

// clean takes away what the release would start at boot, whatever that is:
// all that was enabled by an administrator or a package, and the scripts of
// System V. What systemd itself brings stays.
func (s *Server) clean(context.Context) error {
	scripts, _ := filepath.Glob(s.path("/etc/rc?.d")) // The pattern is well-formed.
	for _, path := range append(scripts, s.path("/etc/systemd/system")) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing what would start: %w", err)
		}
	}
	// Without an id systemd would take this for the first boot and enable all.
	files := map[string]string{
		"/etc/machine-id":                       machineID() + "\n",
		"/etc/hostname":                         "matrix\n",
		"/etc/hosts":                            hosts,
		"/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRateLimitBurst=0\nForwardToConsole=no\n",
	}
	for path, content := range files {
		if err := s.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	err := s.mask("console-getty.service", "getty.target", "systemd-networkd.service", "systemd-resolved.service")
	if err != nil || s.release != Broker {
		return err
	}
	// As its package enables it.
	return os.Symlink("/usr/lib/systemd/system/dbus-broker.service", s.path("/etc/systemd/system/dbus.service"))
}

// hosts are the names that Debian's installer writes: a program that asks for
// the name of its own machine would otherwise wait for a DNS server in vain.
const hosts = `127.0.0.1 localhost
127.0.1.1 matrix.example.org matrix
::1 localhost ip6-localhost ip6-loopback
`

func machineID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // Never fails (crypto/rand).
	return hex.EncodeToString(id)
}

// mask keeps units from starting, before the server is up.
func (s *Server) mask(units ...string) error {
	if err := os.MkdirAll(s.path("/etc/systemd/system"), 0o755); err != nil { // A directory of a system.
		return fmt.Errorf("masking units: %w", err)
	}
	for _, unit := range units {
		if err := os.Symlink("/dev/null", s.path("/etc/systemd/system/"+unit)); err != nil {
			return fmt.Errorf("masking %s: %w", unit, err)
		}
	}
	return nil
}

// addUsers adds the user that Synapse's packages would add.
func (s *Server) addUsers(ctx context.Context) error {
	if _, err := run(ctx, "chroot", s.root, "id", "-u", "synapse"); err == nil {
		return nil
	}
	if _, err := run(ctx, "chroot", s.root, "useradd", "--system", "--user-group", "synapse"); err != nil {
		return fmt.Errorf("adding the user synapse: %w", err)
	}
	return nil
}

// tun is the device by which OpenVPN makes its interfaces. The server has it if this
// machine does, and with it a capability that every server has and no container.
const tun = "/dev/net/tun"

func (s *Server) start(context.Context) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { // Users in the server read it.
		return fmt.Errorf("making the lab's cache: %w", err)
	}
	args := []string{"sh", "-c", enterCgroups, "sh", strings.Join(s.lab.cgroups, " ")}
	args = append(args, s.hierarchy()...)
	args = append(args, "systemd-nspawn", "-q", "-D", s.root, "--machine="+s.lab.name,
		"--network-namespace-path="+netnsPath(s.lab.Net), "--boot", "--register=no", "--keep-unit",
		"--resolv-conf=off", "--bind-ro="+cache+":"+cacheInside, "--console=pipe", "--kill-signal=SIGRTMIN+3")
	if _, err := os.Stat(tun); err == nil {
		args = append(args, "--bind="+tun, "--capability=CAP_NET_ADMIN")
	}
	p, err := start(filepath.Join(s.lab.dir, "console"), args...) // It lives longer than ctx.
	if err != nil {
		return err
	}
	s.nspawn = p
	s.lab.later(s.shutdown)
	return nil
}

// hierarchy has systemd-nspawn give another release the unified hierarchy of
// cgroups, without which systemd does not boot from 256 on; ours gets what this
// machine has.
func (s *Server) hierarchy() []string {
	if s.release == Here {
		return nil
	}
	return []string{"env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"}
}

// shutdown ends the server at once: nothing in it is to be kept.
func (s *Server) shutdown() error {
	if s.pid != 0 {
		_ = syscall.Kill(s.pid, syscall.SIGKILL) // nspawn ends when its init does.
	}
	if s.nspawn.ended(5 * time.Second) {
		return nil
	}
	return s.nspawn.stop(syscall.SIGTERM)
}

// wait waits until systemd says that it has booted. "degraded" is well: some
// unit of this machine may not like a container.
func (s *Server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		if s.nspawn.ended(0) {
			console, _ := os.ReadFile(filepath.Join(s.lab.dir, "console")) // Better nothing than another error.
			return fmt.Errorf("systemd-nspawn has ended: %s", console)
		}
		if err := s.findInit(); err != nil {
			return err
		}
		state, _ := s.Exec(ctx, "systemctl", "is-system-running") // It exits 1 when degraded.
		if state != "running" && state != "degraded" {
			return fmt.Errorf("the system is %q", state)
		}
		return nil
	})
}

// findInit finds the only child of systemd-nspawn that is systemd.
func (s *Server) findInit() error {
	dir := fmt.Sprintf("/proc/%d/task/%[1]d/children", s.nspawn.cmd.Process.Pid)
	children, err := os.ReadFile(dir) // In /proc.
	if err != nil {
		return fmt.Errorf("looking for the server's first process: %w", err)
	}
	for _, child := range strings.Fields(string(children)) {
		name, _ := os.ReadFile(filepath.Join("/proc", child, "comm")) // In /proc; it may have ended.
		if strings.TrimSpace(string(name)) == "systemd" {
			s.pid, err = strconv.Atoi(child)
			return err
		}
	}
	return errors.New("there is no first process yet")
}

// Root is the server's root directory. Below it /run and /tmp are empty; those
// of the running server are seen by Exec alone.
func (s *Server) Root() string { return s.root }

func (s *Server) path(name string) string { return filepath.Join(s.root, name) }

// Command is a program inside the server, as root and with a plain
// environment, that has not been started.
func (s *Server) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"nsenter", "-t", strconv.Itoa(s.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"}
	cmd := command(ctx, append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
	return cmd
}

// Exec runs a program inside the server as root and returns its standard
// output without the last line feed. An exit status other than 0 is an error
// that wraps *exec.ExitError and has the standard error in it.
func (s *Server) Exec(ctx context.Context, args ...string) (string, error) {
	var out, complaint strings.Builder
	cmd := s.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("running %q in the server: %w: %s", strings.Join(args, " "), err,
			strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), err
}

// ExecAs is Exec as another user.
func (s *Server) ExecAs(ctx context.Context, user string, args ...string) (string, error) {
	return s.Exec(ctx, append([]string{"runuser", "-u", user, "--"}, args...)...)
}

// WriteFile writes a file of the server, in place if it exists and with the
// directories above it if they do not. It works before the server is up too,
// and not below /run and /tmp.
func (s *Server) WriteFile(name, content string, mode os.FileMode) error {
	path := s.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // A directory of a system.
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil { // Tests say what the server has.
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Chmod(path, mode)
}

// Show is a property of a unit, as systemctl(1) shows it.
func (s *Server) Show(ctx context.Context, unit, property string) (string, error) {
	return s.Exec(ctx, "systemctl", "show", "--value", "-p", property, unit)
}
