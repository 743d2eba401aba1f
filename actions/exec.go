package actions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"netwatch"
	"netwatch/access"
)

const (
	cleanPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	cleanLang = "LANG=C.UTF-8"
)

// execUsage is what follows the verb.
const execUsage = "PROGRAM [ARG...]"

// execGrace is how long a program may take to end after it is told to, before
// it is killed.
const execGrace = 2 * time.Second

// keptOutput is how many bytes of a program's output are kept: the last ones.
const keptOutput = 4096

// An execAction runs a program.
type execAction struct {
	program string
	args    []string
	grace   time.Duration
	// run is how it is run; nil is on this machine.
	run func(ctx context.Context, program string, args, env []string) ([]string, error)
}

// newExec makes the step `exec PROGRAM [ARG...]`. The program need not exist before
// the step is run.
func newExec(env Env, verb string, words []string) (netwatch.Step, error) {
	if len(words) == 0 {
		return netwatch.Step{}, fmt.Errorf("a program is missing: %s %s", verb, execUsage)
	}
	program, err := netwatch.ParsePath(words[0])
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("the program to run: %w", err)
	}
	return netwatch.Step{Action: &execAction{string(program), words[1:], execGrace, env.Run}}, nil
}

// Do runs the program with an environment that tells of the event and holds nothing
// else.
func (a *execAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	run := a.here
	if a.run != nil {
		run = a.run
	}
	lines, err := run(ctx, a.program, a.args, environment(job))
	if err == nil {
		return netwatch.Result{Outcome: netwatch.Changed, Detail: last(lines)}
	}
	return netwatch.Failure(a.explain(ctx, err, strings.Join(lines, " | ")))
}

// here runs a program on this machine. At the deadline it tells the whole process group to
// end, and kills it after a grace. Processes that the program leaves behind may go on if
// they have closed its output.
func (a *execAction) here(ctx context.Context, program string, args, env []string) ([]string, error) {
	if err := access.CheckTrusted(program); err != nil {
		return nil, err
	}
	out := &tail{}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = "/", env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process, syscall.SIGTERM) }
	cmd.WaitDelay = a.grace
	err := cmd.Run()
	left := errors.Is(err, exec.ErrWaitDelay)
	if cmd.Process != nil && (left || ctx.Err() != nil) {
		_ = killGroup(cmd.Process, syscall.SIGKILL)
	}
	if left && ctx.Err() == nil {
		err = nil
	}
	return out.lines(), err
}

// killGroup signals the process group that p leads or has led.
func killGroup(p *os.Process, sig syscall.Signal) error {
	err := syscall.Kill(-p.Pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (a *execAction) explain(ctx context.Context, err error, output string) error {
	if output != "" {
		output = ": " + output
	}
	switch {
	case ctx.Err() != nil:
		return netwatch.WithHint(fmt.Errorf("running %s: it was ended: %w%s", a.program, context.Cause(ctx), output),
			"give the rule a longer timeout, or the program less to do")
	case errors.Is(err, syscall.ENOEXEC):
		return netwatch.WithHint(fmt.Errorf("running %s: %w", a.program, err), "a script begins with a line like #!/bin/sh")
	}
	return fmt.Errorf("running %s: %w%s", a.program, err, output)
}

// environment is the whole environment of a program. A variable without a value is
// there and empty, so that a script may use set -u. If two fields would be the same
// variable, it has the value of the one that netwatch knows.
func environment(job netwatch.Job) []string {
	values, variables := told(job), map[string]string{}
	for _, name := range append(slices.Sorted(maps.Keys(values)), netwatch.FieldNames()...) {
		if variable := netwatch.Variable(name); variable != "" {
			variables[variable] = values[name]
		}
	}
	env := []string{cleanPath, cleanLang}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env
}

// A tail keeps the end of what is written to it.
type tail struct{ kept []byte }

// Write takes everything and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-keptOutput):]...)
	t.kept = t.kept[max(0, len(t.kept)-keptOutput):]
	return len(p), nil
}

// lines are the lines that were kept, without empty ones, and harmless to a terminal.
func (t *tail) lines() []string {
	var clean []string
	for line := range strings.Lines(strings.ToValidUTF8(string(t.kept), "?")) {
		if line = strings.TrimSpace(strings.Map(visible, line)); line != "" {
			clean = append(clean, line)
		}
	}
	return clean
}

func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// visible replaces the characters by which a program's output could command a
// terminal.
func visible(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}
