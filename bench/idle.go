package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"netwatch/lab"
)

const (
	// idleBefore is how long everybody has been there before it counts: longer
	// than Go waits to collect its garbage when there is little, two minutes.
	idleBefore = 150 * time.Second
	// idleTime is how long everybody does nothing.
	idleTime = 60 * time.Second
)

// An idler is a daemon that runs as a unit and does nothing.
type idler struct{ name, unit string }

// A usage is what a daemon takes.
type usage struct {
	Processes int
	// Resident, Proportional and Private are in bytes: RSS, PSS, and what it has
	// written to itself, of /proc/PID/smaps_rollup (proc(5)).
	Resident, Proportional, Private int64
	// Switches are context switches, of which each time that it wakes brings some,
	// and CPU is time on a processor.
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
	routed, err := b.startRouted(ctx)
	if err != nil {
		return err
	}
	all = append(all, routed...)
	if err := wait(ctx, idleBefore); err != nil {
		return err
	}
	pids, err := b.pids(ctx, all)
	if err != nil {
		return err
	}
	var first, last []usage
	var wakes []int
	if err := b.inside(ctx, &first, "usage", pids...); err != nil {
		return err
	}
	if err := b.inside(ctx, &wakes, "wakes", pids...); err != nil {
		return err
	}
	if err := b.inside(ctx, &last, "usage", pids...); err != nil {
		return err
	}
	printIdle(all, first, last, wakes)
	printAmong(all, last, wakes)
	for _, i := range all[1:] {
		if _, err := b.server.Exec(ctx, "systemctl", "kill", "-s", "KILL", i.unit); err != nil {
			return err
		}
	}
	return b.stop(ctx)
}

func printIdle(all []idler, first, last []usage, wakes []int) {
	s := newSheet("what", "processes", "resident MB", "PSS MB", "private MB", "netwatch's, against", "wakes a minute",
		"switches a minute", "CPU s a day")
	ours := last[0].Private
	for i, d := range all {
		f, l := first[i], last[i]
		day := float64(24*time.Hour) / float64(idleTime)
		s.row(d.name, l.Processes, mb(l.Resident), mb(l.Proportional), mb(l.Private), ratio(ours, l.Private),
			wakes[i], l.Switches-f.Switches,
			fmt.Sprintf("%.2f", (l.CPU-f.CPU).Seconds()*day))
	}
	_ = s.end() // As fmt.Println
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
	config := b.source(every.String()) + "[source.netlink]\n[source.openvpn]\n[source.file]\nfiles = [\"" +
		lab.YunoHost.File + "\"]\n" + ruleCoturn
	idle := "[daemon]\nsocket = \"/run/bench-idle.sock\"\nstate = \"/var/lib/bench-idle\"\n" +
		strings.ReplaceAll(config, every.String(), "1h")
	files := map[string]string{
		"/etc/netwatch/idle.toml":                   idle,
		"/etc/inadyn-bench.conf":                    inadynConf,
		"/etc/ddclient-bench.conf":                  fmt.Sprintf(ddclientConf, "http://203.0.113.1/"),
		"/etc/networkd-dispatcher/routable.d/bench": "#!/bin/sh\n", // Without any it does not start
		"/etc/webhook-bench.json":                   webhookConf,
	}
	for name, text := range files {
		if err := b.server.WriteFile(name, text, 0o755); err != nil {
			return nil, err
		}
	}
	all := []idler{
		{"netwatch, polling every 15 s", "netwatch.service"},
		bare,
		{"inadyn", "bench-inadyn.service"},
		{"ddclient", "bench-ddclient.service"},
		{"networkd-dispatcher", "networkd-dispatcher.service"},
		{"webhook", "bench-webhook.service"},
	}
	commands := []string{
		"rm -f /etc/systemd/system/systemd-networkd.service; systemctl daemon-reload; " +
			"systemctl start systemd-networkd && systemctl start networkd-dispatcher",
		"systemd-run -q --unit=bench-netwatch.service -p Type=notify -p WatchdogSec=30 -p Environment=" + asUnit +
			" netwatch -c /etc/netwatch/idle.toml run",
		"systemd-run -q --unit=bench-inadyn.service inadyn -n -f /etc/inadyn-bench.conf --cache-dir=/tmp",
		"systemd-run -q --unit=bench-ddclient.service ddclient -foreground -file /etc/ddclient-bench.conf -cache " +
			"/tmp/ddclient.cache",
		"systemd-run -q --unit=bench-webhook.service webhook -hooks /etc/webhook-bench.json -ip 127.0.0.1 -port 9000",
	}
	for _, line := range commands {
		if _, err := b.server.Exec(ctx, "sh", "-c", line); err != nil {
			return nil, err
		}
	}
	if err := b.server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644); err != nil {
		return nil, err
	}
	// Nobody asks it anything.
	if _, err := b.server.Exec(ctx, "systemctl", "restart", "netwatch.service"); err != nil {
		return nil, err
	}
	more, err := b.startAmong(ctx, idle)
	return append(all, more...), err
}

// routedConf is with the router, and netwatch's defaults; it has the name of its own,
// and its sources.
const routedConf = "[daemon]\nsocket = \"/run/%[1]s.sock\"\nstate = \"/var/lib/%[1]s\"\n%[2]s"

// startRouted starts netwatch with a router that answers, once so that it has heard that
// announce something, and once so that it has not.
func (b *bench) startRouted(ctx context.Context) (all []idler, err error) {
	if err := b.world.RouterWorld(ctx); err != nil {
		return nil, err
	}
	m, err := b.world.StartMiniupnpd(ctx, true)
	if err != nil {
		return nil, err
	}
	r := &routed{bench: b}
	for _, name := range []string{"bench-hears", "bench-asks"} {
		file := "/etc/netwatch/" + name + ".toml"
		text := fmt.Sprintf(routedConf, name, r.config("[source.router]\n[source.netlink]\n"))
		if err := b.server.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
		if _, err := b.server.Exec(ctx, "systemd-run", "-q", "--unit="+name+".service", "-p", "Type=notify", "-p",
			"WatchdogSec=30", "-p", "Environment="+asUnit, "netwatch", "-c", file, "run"); err != nil {
			return nil, err
		}
		if name == "bench-asks" {
			break // It begins after what is announced
		}
		if err := errors.Join(wait(ctx, time.Second), m.Stop(), m.Start(ctx), wait(ctx, time.Second)); err != nil {
			return nil, err // That it starts is announced
		}
	}
	return []idler{
		{"netwatch, hearing the router", "bench-hears.service"}, {"netwatch, asking the router", "bench-asks.service"},
	}, nil
}

// pids are the processes that the units began with.
func (b *bench) pids(ctx context.Context, all []idler) (pids []string, err error) {
	for _, i := range all {
		pid, err := b.server.Show(ctx, i.unit, "MainPID")
		if err != nil {
			return nil, err
		}
		if pid == "0" {
			log, _ := b.server.Exec(ctx, "journalctl", "-n", "20", "-u", i.unit)
			return nil, fmt.Errorf("%s does not run: %s", i.name, log)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// blink is how long a daemon may work so that it counts as having woken once.
const blink = 100 * time.Millisecond

// wakesInside is how often each process did something after it had done nothing,
// in idleTime: to wake, it takes a few context switches within a millisecond,
// which may lie on both sides of a tick.
func wakesInside(pids []string) (any, error) {
	wakes, last, awake := make([]int, len(pids)), make([]int64, len(pids)), make([]bool, len(pids))
	tick := time.NewTicker(blink)
	defer tick.Stop()
	for end := time.Now().Add(idleTime); time.Now().Before(end); <-tick.C {
		for i, pid := range pids {
			u, err := usageOf(pid)
			if err != nil {
				return nil, err
			}
			did := last[i] != 0 && u.Switches != last[i]
			if did && !awake[i] {
				wakes[i]++
			}
			last[i], awake[i] = u.Switches, did
		}
	}
	return wakes, nil
}

// usageInside is what each process takes now, with those that it started.
func usageInside(pids []string) (any, error) {
	all := make([]usage, len(pids))
	for i, pid := range pids {
		var err error
		if all[i], err = usageOf(pid); err != nil {
			return nil, err
		}
		if err := all[i].weigh(pid); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// usageOf is how often the threads of a process were switched to, how long they
// ran, and how many children it has.
func usageOf(pid string) (u usage, err error) {
	u.Processes = 1
	tasks, err := os.ReadDir("/proc/" + pid + "/task")
	if err != nil {
		return u, err
	}
	for _, task := range tasks {
		dir := "/proc/" + pid + "/task/" + task.Name()
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return u, err
		}
		u.Switches += field(status, "voluntary_ctxt_switches:") + field(status, "nonvoluntary_ctxt_switches:")
		ran, err := os.ReadFile(dir + "/schedstat")
		if err != nil {
			return u, err
		}
		first, _, _ := strings.Cut(string(ran), " ")
		ns, _ := strconv.ParseInt(first, 10, 64) // As the kernel writes it.
		u.CPU += time.Duration(ns)
		children, err := os.ReadFile(dir + "/children")
		if err != nil {
			return u, err
		}
		u.Processes += len(strings.Fields(string(children)))
	}
	return u, nil
}

// weigh adds the memory of a process.
func (u *usage) weigh(pid string) error {
	text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	u.Resident, u.Proportional, u.Private = 1024*field(text, "Rss:"), 1024*field(text,
		"Pss:"), 1024*field(text, "Private_Dirty:")
	return err
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
