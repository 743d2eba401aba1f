package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"netwatch/control"
)

const (
	// fireTime is how long each is fired at, in each of fireTurns turns.
	fireTime  = 2 * time.Second
	fireTurns = 3
)

// webhookConf is a hook that does the same as netwatch's rule.
const webhookConf = `[{"id": "bench-moved", "execute-command": "/bin/true"}]`

// A target is a daemon that takes events over a socket.
type target struct {
	name string
	// client posts body to url.
	client *http.Client
	url    string
	body   []byte
	args   []string
	rates  []float64
}

// asUnit is what netwatch.service has in its environment.
const asUnit = "GOMAXPROCS=1"

// fire measures how many events a second are taken by netwatch, which has each
// on disk before it says so, and by webhook, which has not.
func (b *bench) fire(ctx context.Context) error {
	dir, err := os.MkdirTemp("/var/tmp", "netwatch-bench") // A disk: /tmp may be none.
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	hooks := filepath.Join(dir, "hooks.json")
	if err := os.WriteFile(hooks, []byte(webhookConf), 0o600); err != nil {
		return err
	}
	targets := []*target{{
		name: "webhook", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		url: "http://127.0.0.1:9123/hooks/bench-moved", args: []string{"webhook", "-hooks", hooks, "-ip", "127.0.0.1", "-port", "9123"},
	}}
	for _, t := range []struct {
		kind string
		rule func(int) string
		n    int
	}{
		{"on other events", otherEvent, 12},
		{"on other events", otherEvent, 100},
		{"on other fields", otherField, 12},
		{"on other fields", otherField, 100},
	} {
		target, err := netwatchTarget(filepath.Join(dir, fmt.Sprint(len(targets))), fmt.Sprintf("netwatch, %d rules %s", t.n, t.kind), t.rule, t.n)
		if err != nil {
			return err
		}
		targets = append(targets, target)
	}
	for _, callers := range []int{1, 64} {
		if err := fireAt(ctx, targets, callers); err != nil {
			return err
		}
	}
	return nil
}

func otherEvent(n int) string {
	return fmt.Sprintf("[[rule]]\nname = \"r%d\"\non = [\"other-%[1]d\"]\ndo = [\"exec /bin/true\"]\n", n)
}

func otherField(n int) string {
	return fmt.Sprintf("[[rule]]\nname = \"r%d\"\non = [\"bench-moved\"]\nmatch = { interface = \"tun%[1]d\" }\ndo = [\"exec /bin/true\"]\n", n)
}

// netwatchTarget is netwatch with a rule that fits and n that do not.
func netwatchTarget(dir, name string, rule func(int) string, n int) (*target, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("[daemon]\nsocket = \"%s/s\"\nstate = \"%[1]s/state\"\n[[rule]]\nname = \"it\"\non = [\"bench-moved\"]\ndo = [\"exec /bin/true\"]\n", dir)
	for i := range n {
		config += rule(i)
	}
	file := filepath.Join(dir, "netwatch.toml")
	body, err := json.Marshal(control.Request{Event: "bench-moved", NoWait: true, Fields: map[string]string{"interface": "eth0"}})
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", dir+"/s")
	}
	return &target{
		name: name, client: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}},
		url: "http://netwatch/v1/fire", body: body, args: []string{"env", asUnit, "bin/netwatch", "-c", file, "run"},
	}, os.WriteFile(file, []byte(config), 0o600)
}

// fireAt fires at each in turn and prints the rates.
func fireAt(ctx context.Context, targets []*target, callers int) error {
	for _, t := range targets {
		t.rates = nil
	}
	for range fireTurns {
		for _, t := range targets {
			rate, err := t.turn(ctx, callers)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			t.rates = append(t.rates, rate)
		}
	}
	s := newSheet(fmt.Sprintf("%d at once", callers), "events a second", "ms each", "against webhook")
	for _, t := range targets {
		slices.Sort(t.rates)
		s.row(t.name, fmt.Sprintf("%.0f", t.median()), fmt.Sprintf("%.3f", 1000/t.median()), ratio(t.median(), targets[0].median()))
	}
	fmt.Fprintln(s.out)
	return s.end()
}

func (t *target) median() float64 { return t.rates[(len(t.rates)-1)/2] }

// turn starts the daemon, fires at it for a while and ends it.
func (t *target) turn(ctx context.Context, callers int) (rate float64, err error) {
	cmd := exec.CommandContext(ctx, t.args[0], t.args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Wait() }() // Killed: it says so.
	defer cmd.Process.Kill()          //nolint:errcheck // it may have ended
	defer t.client.CloseIdleConnections()
	if err := until(ctx, func() error { return t.post(ctx) }); err != nil {
		return 0, err
	}
	var count atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			for failed.Load() == nil && time.Since(began) < fireTime {
				if err := t.post(ctx); err != nil {
					failed.Store(&err)
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(count.Load()) / time.Since(began).Seconds(), nil
}

// post fires once.
func (t *target) post(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(t.body))
	if err != nil {
		return err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return err
}
