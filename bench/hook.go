package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"netwatch/lab"
)

const (
	// hookRounds is how often a hook is run in each state of the daemon.
	hookRounds = 1000
	// scriptRounds is how often the script is, which takes longer.
	scriptRounds = 100
	// nobodyID is whom OpenVPN becomes once its tunnel was there (user nobody).
	nobodyID = 65534
)

// script is the one that the documentation of Synapse's app for YunoHost gives
// for ipchange, but for its sleep of 5 s.
const (
	scriptFile = "/usr/local/bin/openvpn_up_script.sh"
	script     = "#!/bin/bash\n\nsudo systemctl restart coturn-synapse\n\nexit 0\n"
	sudoers    = "nobody ALL=(root) NOPASSWD: /bin/systemctl restart coturn-synapse, " +
		"/usr/bin/systemctl restart coturn-synapse\n"
)

// A contender is a program to be run and waited for, as OpenVPN does.
type contender struct {
	Name   string
	Args   []string
	Rounds int
	// User is whom it is run as. Of more than two a second the daemon slows those of
	// other users, so root measures what one waits for the daemon.
	User uint32
}

// An outing is how long the runs of a contender took, and how often it had
// something to complain of: a hook is well when the daemon is up.
type outing struct {
	Times      lab.Times
	Complaints int
}

var hookLine = []string{"/usr/bin/netwatch", "hook", "openvpn", "[AF_INET]203.0.113.1 1194"}

// hookStates are how the daemon is made to be, and who is then measured.
var hookStates = []struct {
	prepare string
	all     []contender
}{
	{"true", []contender{
		{"/bin/true", []string{"/bin/true"}, hookRounds, nobodyID},
		{"bash script with sudo, without its sleep", []string{scriptFile}, scriptRounds, nobodyID},
		{"hook, daemon up", hookLine, hookRounds, 0},
	}},
	{
		"systemctl stop netwatch.socket netwatch.service",
		[]contender{{"hook, daemon down", hookLine, hookRounds, nobodyID}},
	},
	{
		"systemctl start netwatch.service && systemctl kill -s STOP netwatch.service",
		[]contender{{"hook, daemon hung", hookLine, hookRounds, nobodyID}},
	},
}

// hook measures what OpenVPN waits for, with the daemon up, down and hung.
func (b *bench) hook(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.writeScript(); err != nil {
		return err
	}
	config := b.source("1h") + "[source.openvpn]\n" + ruleCoturn +
		"[[rule]]\non = [\"vpn-changed\"]\nsettle = \"5s\"\ndo = [\"probe stun\"]\n"
	if err := b.start(ctx, config); err != nil {
		return err
	}
	var peer time.Duration
	s := newSheet("what", "median ms", "p99 ms", "worst ms", "against the script", "complaints")
	for _, state := range hookStates {
		if _, err := b.server.Exec(ctx, "sh", "-c", state.prepare); err != nil {
			return err
		}
		took, err := b.spawn(ctx, state.all)
		if err != nil {
			return err
		}
		if peer == 0 {
			peer = took[state.all[1].Name].Times.Median()
		}
		for _, c := range state.all {
			t := took[c.Name].Times
			s.row(c.Name, t.Median(), quantile(t, 0.99), quantile(t, 1), ratio(t.Median(), peer), took[c.Name].Complaints)
		}
	}
	if _, err := b.server.Exec(ctx, "sh", "-c",
		"systemctl kill -s CONT netwatch.service && systemctl stop netwatch.socket netwatch.service"); err != nil {
		return err
	}
	return s.end()
}

func (b *bench) writeScript() error {
	if err := b.server.WriteFile("/etc/sudoers.d/bench", sudoers, 0o440); err != nil {
		return err
	}
	return b.server.WriteFile(scriptFile, script, 0o755)
}

// spawn has contenders run in turn inside the server.
func (b *bench) spawn(ctx context.Context, all []contender) (took map[string]outing, err error) {
	order, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return took, b.inside(ctx, &took, "spawn", string(order))
}

// spawnInside is what spawn does in the lab's server. It runs each program as OpenVPN
// does, with the environment of ipchange, which has no PATH.
func spawnInside(order string) (any, error) {
	var all []contender
	if err := json.Unmarshal([]byte(order), &all); err != nil {
		return nil, err
	}
	stderr, err := os.CreateTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.Remove(stderr.Name())
	took := map[string]outing{}
	for round := range hookRounds {
		for _, c := range all {
			if round >= c.Rounds {
				continue
			}
			o := took[c.Name]
			if err := o.once(c, stderr); err != nil {
				return nil, fmt.Errorf("running %s: %w", c.Name, err)
			}
			took[c.Name] = o
		}
	}
	return took, nil
}

// once runs a contender once.
func (o *outing) once(c contender, stderr *os.File) error {
	d, err := spawnOne(c, stderr.Fd())
	if err != nil {
		return err
	}
	o.Times = append(o.Times, d)
	said, err := stderr.Stat()
	if err == nil && said.Size() > 0 {
		o.Complaints++
		err = stderr.Truncate(0)
	}
	return err
}

// spawnOne is from fork(2) to wait(2).
func spawnOne(c contender, stderr uintptr) (time.Duration, error) {
	began := time.Now()
	pid, err := syscall.ForkExec(c.Args[0], c.Args, &syscall.ProcAttr{
		Env:   []string{"script_type=ipchange", "trusted_ip=203.0.113.1", "trusted_port=1194", "daemon=1"},
		Files: []uintptr{stderr, stderr, stderr},
		Sys:   &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.User, Gid: c.User}},
	})
	if err != nil {
		return 0, err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if status.ExitStatus() != 0 {
		return 0, fmt.Errorf("it exits with %d", status.ExitStatus())
	}
	return took, nil
}
