package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// run runs a program to its end and returns what it wrote to its standard
// output, without the last line feed. When it fails, the error wraps
// *exec.ExitError and ends with what it wrote to its standard error.
func run(ctx context.Context, args ...string) (string, error) {
	return runInput(ctx, nil, args...)
}

func runInput(ctx context.Context, input io.Reader, args ...string) (string, error) {
	cmd := command(ctx, args...)
	cmd.Stdin = input
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("running %q: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), err
}

// command is a program that dies with this process, so that a lab which is
// killed leaves nothing running.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) // The lab runs what its tests say.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd
}

// inNet puts a program into a network namespace.
func inNet(namespace string, args ...string) []string {
	return append([]string{"nsenter", "--net=" + netnsPath(namespace), "--"}, args...)
}

// A process is a program that runs beside the lab until it is stopped.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a program whose output goes to a file. It lives longer than
// any one call, hence no context; stop ends it.
func start(log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // A path of the lab's own.
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", args[0], err)
	}
	defer out.Close()                             // The program has its own descriptor.
	cmd := command(context.Background(), args...) // See above.
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %q: %w", strings.Join(args, " "), err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { // Ends with the program.
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// errStillRuns is what stop returns when a program outlives SIGKILL.
var errStillRuns = errors.New("it still runs after SIGKILL")

// stopGrace is how long a program may take to end.
const stopGrace = 5 * time.Second

// stop asks with a signal and, once the grace is over, kills.
func (p *process) stop(ask os.Signal) error {
	_ = p.cmd.Process.Signal(ask) // An error means that it has ended already.
	if p.ended(stopGrace) {
		return nil
	}
	_ = p.cmd.Process.Kill()
	if p.ended(stopGrace) {
		return nil
	}
	return fmt.Errorf("stopping %s: %w", p.cmd.Path, errStillRuns)
}

func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// until calls try every pause until it returns nil. When ctx is done before,
// the error is the last one of try.
func until(ctx context.Context, pause time.Duration, try func() error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
