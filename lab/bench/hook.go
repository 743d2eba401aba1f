package main

import (
	"context"
	"encoding/json"
	"fmt"
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
	sudoers    = "nobody ALL=(root) NOPASSWD: /bin/systemctl restart coturn-synapse, /usr/bin/systemctl restart coturn-synapse\n"
)

// A contender is a program to be run and waited for, as OpenVPN does.
type contender struct {
	Name   string
	Args   []string
	Rounds int
}

// hook measures what OpenVPN waits for, with the daemon up, down and hung.
func (b *bench) hook(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.writeScript(); err != nil {
		return err
	}
	config := b.source("1h") + "[source.openvpn]\n" + ruleCoturn + "[[rule]]\non = [\"vpn-changed\"]\nsettle = \"5s\"\ndo = [\"probe stun\"]\n"
	if err := b.start(ctx, config); err != nil {
		return err
	}
	hook := []string{"/usr/bin/netwatch", "hook", "openvpn", "[AF_INET]203.0.113.1 1194"}
	states := []struct {
		prepare string
		all     []contender
	}{
		{"true", []contender{{"/bin/true", []string{"/bin/true"}, hookRounds}, {"bash script with sudo, without its sleep", []string{scriptFile}, scriptRounds}, {"hook, daemon up", hook, hookRounds}}},
		{"systemctl stop netwatch.socket netwatch.service", []contender{{"hook, daemon down", hook, hookRounds}}},
		{"systemctl start netwatch.service && systemctl kill -s STOP netwatch.service", []contender{{"hook, daemon hung", hook, hookRounds}}},
	}
	var peer time.Duration
	s := newSheet("what", "median ms", "p99 ms", "worst ms", "against the script")
	for _, state := range states {
		if _, err := b.server.Exec(ctx, "sh", "-c", state.prepare); err != nil {
			return err
		}
		took, err := b.spawn(ctx, state.all)
		if err != nil {
			return err
		}
		if peer == 0 {
			peer = took[state.all[1].Name].Median()
		}
		for _, c := range state.all {
			t := took[c.Name]
			s.row(c.Name, t.Median(), quantile(t, 0.99), quantile(t, 1), ratio(t.Median(), peer))
		}
	}
	if _, err := b.server.Exec(ctx, "sh", "-c", "systemctl kill -s CONT netwatch.service && systemctl stop netwatch.socket netwatch.service"); err != nil {
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
func (b *bench) spawn(ctx context.Context, all []contender) (took map[string]lab.Times, err error) {
	order, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return took, b.inside(ctx, &took, "spawn", string(order))
}

// spawnInside is spawn in the server: it runs each as OpenVPN does, as nobody
// and with the environment of ipchange, which has no PATH.
func spawnInside(order string) (any, error) {
	var all []contender
	if err := json.Unmarshal([]byte(order), &all); err != nil {
		return nil, err
	}
	took := map[string]lab.Times{}
	for round := range hookRounds {
		for _, c := range all {
			if round >= c.Rounds {
				continue
			}
			d, err := spawnOne(c.Args)
			if err != nil {
				return nil, fmt.Errorf("running %s: %w", c.Name, err)
			}
			took[c.Name] = append(took[c.Name], d)
		}
	}
	return took, nil
}

// spawnOne is from fork(2) to wait(2).
func spawnOne(args []string) (time.Duration, error) {
	began := time.Now()
	pid, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Env: []string{"script_type=ipchange", "trusted_ip=203.0.113.1", "trusted_port=1194", "daemon=1"},
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}},
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
