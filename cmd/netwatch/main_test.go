package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"netwatch/control"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"netwatch": main})
}

// TestScripts runs the command as a user would: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code":   code,
			"await":  await,
			"expand": expand,
			"send":   send,
			"metric": metric,
			"tame":   tame,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("NETWATCH_CONFIG", env.WorkDir+"/netwatch.toml")
			env.Setenv("EVIL", evil)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // Otherwise each command lasts a second longer
			return nil
		},
	})
}

// code runs a program and wants a certain exit code: code 2 netwatch fire.
func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d instead of %d", got, want)
	}
}

// await runs a program again and again until it succeeds or, with !, fails.
func await(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(10 * time.Second)
	for (ts.Exec(args[0], args[1:]...) == nil) == neg {
		if time.Now().After(deadline) {
			ts.Fatalf("still not after 10 s")
		}
	}
}

// expand replaces the variables in a file by their values.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(file), ts.Getenv)
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// metric wants a line in the metrics of the daemon whose socket is given.
func metric(ts *testscript.TestScript, _ bool, args []string) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ts.MkAbs(args[0]))
		},
	}}
	resp, err := client.Get("http://netwatch/metrics")
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if !slices.Contains(strings.Split(string(text), "\n"), args[1]) {
		ts.Fatalf("%s is not in the metrics:\n%s", args[1], text)
	}
}

// evil is what somebody might call what is his, to command a terminal: clear it, give it
// a title, colour it (with a control character of eight bits too), turn the direction of
// writing, begin a line of its own.
const evil = "\x1b[2J\x1b]0;x\x07\u009b31m\u202egnp\u2066\u2028\u200b\r\x7f"

// tame runs a program, in whose arguments and files EVIL has a value, and wants that
// what it prints shows it and does nothing to a terminal.
func tame(ts *testscript.TestScript, neg bool, args []string) {
	_ = ts.Exec(args[0], args[1:]...)
	printed := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	for _, r := range printed {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			ts.Fatalf("%q is printed: %q", r, printed)
		}
	}
	if shown := strings.Contains(printed, `\u202e`) || strings.Contains(printed, `\u001b`); shown == neg {
		ts.Fatalf("that it is shown is %t: %s", shown, printed)
	}
}

// send sends HUP or TERM to the daemon of the configuration.
func send(ts *testscript.TestScript, _ bool, args []string) {
	_ = ts.Exec("netwatch", "status", "--json") // It exits 1 if the state is not on disk
	var status control.Status
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &status))
	ts.Check(syscall.Kill(status.PID, unix.SignalNum("SIG"+args[0])))
}
