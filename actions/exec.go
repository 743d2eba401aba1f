package actions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"netwatch"
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
}

// newExec makes the step `exec PROGRAM [ARG...]`. Whether the program exists is
// a matter of when it is run.
func newExec(_ Env, verb string, words []string) (netwatch.Step, error) {
	if len(words) == 0 {
		return netwatch.Step{}, fmt.Errorf("a program is missing: %s %s", verb, execUsage)
	}
	program, err := netwatch.ParsePath(words[0])
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("the program to run: %w", err)
	}
	return netwatch.Step{Action: &execAction{string(program), words[1:], execGrace}}, nil
}

// Do runs the program with nothing but the event in its environment. At the
// deadline its whole process group is told to end and, after a grace, killed.
// Processes that it leaves behind may live if they have let go of its output.
func (a *execAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if err := trusted(a.program, maxLinks); err != nil {
		return netwatch.Failure(fmt.Errorf("running %s: %w", a.program, err))
	}
	out := &tail{}
	cmd := exec.CommandContext(ctx, a.program, a.args...)
	cmd.Dir, cmd.Env = "/", environment(job)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process, syscall.SIGTERM) }
	cmd.WaitDelay = a.grace
	err := cmd.Run()
	left := errors.Is(err, exec.ErrWaitDelay)
	if cmd.Process != nil && (left || ctx.Err() != nil) {
		_ = killGroup(cmd.Process, syscall.SIGKILL)
	}
	if err == nil || left && ctx.Err() == nil {
		return netwatch.Result{Outcome: netwatch.Changed, Detail: last(out.lines())}
	}
	return netwatch.Failure(a.explain(ctx, err, strings.Join(out.lines(), " | ")))
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

// environment is all that a program gets to know; a variable without a value
// is there and empty, so that a script may say set -u.
func environment(job netwatch.Job) []string {
	ev := job.Event
	env := []string{
		cleanPath, cleanLang,
		"NETWATCH_EVENT=" + ev.Name, "NETWATCH_ID=" + ev.ID, "NETWATCH_SOURCE=" + ev.Source,
	}
	for _, field := range []string{"old", "new", "interface", "family", "file"} {
		env = append(env, "NETWATCH_"+strings.ToUpper(field)+"="+ev.Fields[field])
	}
	for _, family := range netwatch.Families {
		address := ""
		if confirmed, ok := job.Confirmed[family]; ok {
			address = confirmed.Address.String()
		}
		env = append(env, "NETWATCH_"+strings.ToUpper(string(family))+"="+address)
	}
	return env
}

// maxLinks is how many symlinks a path may lead through, as in the kernel.
const maxLinks = 40

// trusted says why a program may not be run: it, a symlink to it, or a
// directory above could be replaced by a user other than root and our own, who
// would then run programs as us.
func trusted(path string, links int) error {
	if parent := filepath.Dir(path); parent != path {
		if err := trusted(parent, links); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return netwatch.WithHint(fmt.Errorf("%s does not exist", path), "install it, or correct the step")
	case err != nil:
		return err
	}
	if err := owned(path, info); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	if links == 0 {
		return fmt.Errorf("%s leads through too many symlinks", path)
	}
	target, err := follow(path)
	if err != nil {
		return err
	}
	return trusted(target, links-1)
}

// follow is where a symlink leads. A target with ".." behind a name, which
// could be a symlink itself, is refused, for the kernel may take it otherwise.
func follow(path string) (string, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return "", err
	}
	names := strings.TrimLeft(target, "./")
	if strings.Contains(names+"/", "/../") {
		return "", refuse(path, "it leads through .. after a name, to "+target, "make it lead straight to its target")
	}
	if filepath.IsAbs(target) {
		return filepath.Clean(target), nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, target), nil
}

// owned says who else may write to a file or directory. In a directory with
// the sticky bit nobody can replace what is not theirs. The group's bits hold
// for the entries of an ACL too.
func owned(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the owner of %s cannot be found out", path)
	}
	mode, sticky := info.Mode(), info.IsDir() && info.Mode()&fs.ModeSticky != 0
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return refuse(path, fmt.Sprintf("user %d owns it", st.Uid),
			"see what is in it, then chown root "+netwatch.ShellPath(path))
	case mode&fs.ModeSymlink != 0 || sticky:
		return nil
	case mode&0o002 != 0:
		return refuse(path, "everyone may write to it", "chmod o-w "+netwatch.ShellPath(path))
	case mode&0o020 != 0 && st.Gid != 0:
		return refuse(path, fmt.Sprintf("group %d may write to it", st.Gid), "chmod g-w "+netwatch.ShellPath(path))
	}
	return nil
}

func refuse(path, why, remedy string) error {
	return netwatch.WithHint(fmt.Errorf("%s is not safe to run: %s", path, why), remedy)
}

// A tail keeps the end of what is written to it.
type tail struct{ kept []byte }

// Write takes everything and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-keptOutput):]...)
	t.kept = t.kept[max(0, len(t.kept)-keptOutput):]
	return len(p), nil
}

// lines are what was kept, without empty ones and fit for a terminal.
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

// visible keeps a program's output from commanding the terminal of who reads it.
func visible(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}
