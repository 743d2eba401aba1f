package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"netwatch/lab"
)

// idleTime is how long everybody does nothing.
const idleTime = 60 * time.Second

// An idler is a daemon that runs as a unit and does nothing.
type idler struct{ name, unit string }

// A usage is what a daemon takes.
type usage struct {
	Processes int
	// Resident, Proportional and Private are in bytes: RSS, PSS, and what it has
	// written to itself, of /proc/PID/smaps_rollup (proc(5)).
	Resident, Proportional, Private int64
	// Switches are context switches, and CPU is time on a processor.
	Switches int64
	CPU      time.Duration
}

// idle measures netwatch, with polls and without, beside daemons that do some of
// what it does.
func (b *bench) idle(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.server.WriteFile("/etc/systemd/system/netwatch.service.d/dog.conf", "", 0o644); err != nil {
		return err // The watchdog takes part.
	}
	web, err := b.startWeb(ctx)
	if err != nil {
		return err
	}
	defer web()
	all, err := b.startIdlers(ctx)
	if err != nil {
		return err
	}
	if err := wait(ctx, 15*time.Second); err != nil { // until they have started
		return err
	}
	first, err := b.usages(ctx, all)
	if err != nil {
		return err
	}
	if err := wait(ctx, idleTime); err != nil {
		return err
	}
	last, err := b.usages(ctx, all)
	if err != nil {
		return err
	}
	printIdle(all, first, last)
	for _, i := range all[1:] {
		if _, err := b.server.Exec(ctx, "systemctl", "stop", i.unit); err != nil {
			return err
		}
	}
	return b.stop(ctx)
}

func printIdle(all []idler, first, last map[string]usage) {
	s := newSheet("what", "processes", "resident MB", "PSS MB", "private MB", "switches a minute", "CPU s a day", "private, against")
	ours := last[all[0].unit].Private
	for _, i := range all {
		f, l := first[i.unit], last[i.unit]
		day := float64(24*time.Hour) / float64(idleTime)
		s.row(i.name, l.Processes, mb(l.Resident), mb(l.Proportional), mb(l.Private),
			fmt.Sprintf("%.0f", float64(l.Switches-f.Switches)*float64(time.Minute)/float64(idleTime)),
			fmt.Sprintf("%.2f", (l.CPU-f.CPU).Seconds()*day), ratio(ours, l.Private))
	}
	_ = s.end() // as fmt.Println
}

func mb(bytes int64) string { return fmt.Sprintf("%.2f", float64(bytes)/1e6) }

const inadynConf = `period = 300
custom bench {
	hostname = "matrix.example.org"
	username = "u"
	password = "p"
	ssl = false
	ddns-server = "203.0.113.1"
	ddns-path = "/nic/update?hostname=%h"
	checkip-server = "203.0.113.1"
	checkip-path = "/"
	checkip-ssl = false
}
`

// ddclientConf is for ddclient's web check, at a URL.
const ddclientConf = `daemon=300
syslog=no
ssl=no
web-ssl-validate=no
use=web, web=%s
protocol=dyndns2, server=203.0.113.1, login=u, password=p
matrix.example.org
`

// startIdlers starts netwatch as its unit, and the others, and netwatch without
// polls as units of their own.
func (b *bench) startIdlers(ctx context.Context) ([]idler, error) {
	config := b.source(every.String()) + "[source.netlink]\n[source.openvpn]\n[source.file]\nfiles = [\"" + lab.YunoHost.File + "\"]\n" + ruleCoturn
	files := map[string]string{
		"/etc/netwatch/idle.toml":          "[daemon]\nsocket = \"/run/bench-idle.sock\"\nstate = \"/var/lib/bench-idle\"\n" + strings.ReplaceAll(config, every.String(), "1h"),
		"/etc/inadyn-bench.conf":           inadynConf,
		"/etc/ddclient-bench.conf":         fmt.Sprintf(ddclientConf, "http://203.0.113.1/"),
		"/etc/webhook-bench.json":          webhookConf,
		"/etc/systemd/network/10-no.match": "",
	}
	for name, text := range files {
		if err := b.server.WriteFile(name, text, 0o600); err != nil {
			return nil, err
		}
	}
	all := []idler{
		{"netwatch, polling every 15 s", "netwatch.service"},
		{"netwatch, not polling", "bench-netwatch.service"},
		{"inadyn", "bench-inadyn.service"},
		{"ddclient", "bench-ddclient.service"},
		{"networkd-dispatcher", "networkd-dispatcher.service"},
		{"webhook", "bench-webhook.service"},
	}
	commands := []string{
		"rm -f /etc/systemd/system/systemd-networkd.service; systemctl daemon-reload; systemctl start systemd-networkd networkd-dispatcher",
		"systemd-run -q --unit=bench-netwatch.service -p Type=notify -p WatchdogSec=30 netwatch -c /etc/netwatch/idle.toml run",
		"systemd-run -q --unit=bench-inadyn.service inadyn -n -f /etc/inadyn-bench.conf --cache-dir=/tmp",
		"systemd-run -q --unit=bench-ddclient.service ddclient -foreground -file /etc/ddclient-bench.conf -cache /tmp/ddclient.cache",
		"systemd-run -q --unit=bench-webhook.service webhook -hooks /etc/webhook-bench.json -ip 127.0.0.1 -port 9000",
	}
	for _, line := range commands {
		if _, err := b.server.Exec(ctx, "sh", "-c", line); err != nil {
			return nil, err
		}
	}
	return all, b.start(ctx, config)
}

// usages is what each takes by now, by its unit.
func (b *bench) usages(ctx context.Context, all []idler) (map[string]usage, error) {
	used := map[string]usage{}
	for _, i := range all {
		pid, err := b.server.Show(ctx, i.unit, "MainPID")
		if err != nil {
			return nil, err
		}
		text, err := b.server.Exec(ctx, self, inside, "usage", pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.name, err)
		}
		var u usage
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&u); err != nil {
			return nil, err
		}
		used[i.unit] = u
	}
	return used, nil
}

// usageInside is what processes and their children take.
func usageInside(pids []string) (any, error) {
	var sum usage
	for len(pids) > 0 {
		pid := pids[0]
		children, _ := filepath.Glob("/proc/" + pid + "/task/*/children") // The pattern is well-formed.
		pids = pids[1:]
		for _, file := range children {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			pids = append(pids, strings.Fields(string(text))...)
		}
		if err := sum.add(pid); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// add adds a process.
func (u *usage) add(pid string) error {
	u.Processes++
	text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		return err
	}
	u.Resident += 1024 * field(text, "Rss:")
	u.Proportional += 1024 * field(text, "Pss:")
	u.Private += 1024 * field(text, "Private_Dirty:")
	tasks, err := os.ReadDir("/proc/" + pid + "/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		dir := "/proc/" + pid + "/task/" + task.Name()
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return err
		}
		u.Switches += field(status, "voluntary_ctxt_switches:") + field(status, "nonvoluntary_ctxt_switches:")
		ran, err := os.ReadFile(dir + "/schedstat")
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(ran), " ")
		ns, _ := strconv.ParseInt(first, 10, 64) // As the kernel writes it.
		u.CPU += time.Duration(ns)
	}
	return nil
}

// field is the number behind a name at the beginning of a line, or 0.
func field(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, _ := strconv.ParseInt(words[1], 10, 64) // As the kernel writes it.
			return n
		}
	}
	return 0
}
