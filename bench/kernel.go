package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"netwatch/lab"
)

const (
	// arrivals is how often an address comes, in each of arrivalTurns turns.
	arrivals     = 20
	arrivalTurns = 3
	// quiet is from one change to the next: all that follows of one is over.
	quiet = 300 * time.Millisecond
	// benchLink gets the address, and benchMark is what the program makes, where
	// netwatch's sandbox lets it.
	benchLink = "bench0"
	benchMark = "/run/netwatch/mark"
)

// A listener is a way to have a program run when an address comes. start and
// stop are command lines.
type listener struct {
	name, start, stop string
	times             lab.Times
}

// kernel measures from the address to the program, the same for all.
func (b *bench) kernel(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.writeListeners(ctx); err != nil {
		return err
	}
	all := []*listener{
		{name: "netwatch, settle = 0s", start: "systemctl start netwatch.service", stop: "systemctl stop netwatch.socket netwatch.service"},
		{name: "ip monitor, in a shell loop", start: "systemctl start bench-monitor.service", stop: "systemctl stop bench-monitor.service"},
		{name: "networkd-dispatcher", start: "systemctl start systemd-networkd.service networkd-dispatcher.service", stop: "systemctl stop networkd-dispatcher.service systemd-networkd.socket systemd-networkd.service"},
	}
	for range arrivalTurns {
		for _, l := range all {
			if err := b.arrive(ctx, l); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	fastest := min(all[1].times.Median(), all[2].times.Median())
	s := newSheet("what", "median ms", "p99 ms", "against the fastest other")
	for _, l := range all {
		s.row(l.name, l.times.Median(), quantile(l.times, 0.99), ratio(l.times.Median(), fastest))
	}
	return s.end()
}

// writeListeners writes their configurations and makes the interface.
func (b *bench) writeListeners(ctx context.Context) error {
	files := map[string]string{
		"/etc/netwatch/netwatch.toml": fmt.Sprintf("[source.netlink]\n[[rule]]\non = [\"addr-changed\"]\nmatch = { interface = %q }\nsettle = \"0s\"\ndo = [\"exec /usr/bin/touch %s\"]\n",
			benchLink, benchMark),
		"/etc/systemd/system/bench-monitor.service": fmt.Sprintf("[Service]\nExecStart=/bin/sh -c 'ip -o monitor address dev %s | while read -r line; do touch %s; done'\n",
			benchLink, benchMark),
		"/etc/networkd-dispatcher/routable.d/bench": fmt.Sprintf("#!/bin/sh\n[ \"$IFACE\" != %s ] || touch %s\n", benchLink, benchMark),
	}
	for name, text := range files {
		if err := b.server.WriteFile(name, text, 0o755); err != nil {
			return err
		}
	}
	_, err := b.server.Exec(ctx, "sh", "-c", "systemctl stop netwatch.socket netwatch.service; mkdir -p "+filepath.Dir(benchMark)+
		"; rm -f /etc/systemd/system/systemd-networkd.service; systemctl daemon-reload; ip link add "+benchLink+" type veth peer name bench1; ip link set bench1 up; ip link set "+benchLink+" up")
	return err
}

// arrive measures one turn of a listener.
func (b *bench) arrive(ctx context.Context, l *listener) error {
	if _, err := b.server.Exec(ctx, "sh", "-c", l.start); err != nil {
		return err
	}
	if err := wait(ctx, 2*time.Second); err != nil { // until all of it listens
		return err
	}
	var times lab.Times
	if err := b.inside(ctx, &times, "arrive", strconv.Itoa(arrivals)); err != nil {
		return err
	}
	l.times = append(l.times, times...)
	_, err := b.server.Exec(ctx, "sh", "-c", l.stop)
	return err
}

// arriveInside is arrive in the server.
func arriveInside(count string) (any, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	defer w.Close() // nothing is lost
	if err := w.Add(filepath.Dir(benchMark)); err != nil {
		return nil, err
	}
	var times lab.Times
	for range n {
		took, err := arriveOnce(w)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return times, nil
}

// arriveOnce gives the interface its address, waits for the mark, and takes both
// away again.
func arriveOnce(w *fsnotify.Watcher) (time.Duration, error) {
	began := time.Now()
	if err := setAddress([4]byte{198, 51, 100, 1}); err != nil {
		return 0, err
	}
	took, err := marked(w, began)
	if err != nil {
		return 0, err
	}
	<-time.After(quiet)
	if err := setAddress([4]byte{}); err != nil {
		return 0, err
	}
	<-time.After(quiet)
	if err := os.Remove(benchMark); err != nil {
		return 0, err
	}
	return took, nil
}

// marked waits until the mark is made.
func marked(w *fsnotify.Watcher, began time.Time) (time.Duration, error) {
	for late := time.After(patience); ; {
		select {
		case e := <-w.Events:
			if e.Name == benchMark && e.Has(fsnotify.Create) {
				return time.Since(began), nil
			}
		case err := <-w.Errors:
			return 0, err
		case <-late:
			return 0, errors.New("the program never ran")
		}
	}
}

// setAddress gives the interface its IPv4 address; no address is four zeros
// (netdevice(7)). There is no program whose start would be measured as well.
func setAddress(a [4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // nothing was written
	request, err := unix.NewIfreq(benchLink)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(a[:]); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request)
}
