// Bench shows how small and fast netwatch is: it measures it beside what a user
// would have instead, in turn and on the same machine, and prints tables with
// the ratios. It needs root and what tools/deps bench installs; docs/performance.md
// says how to read what it prints.
//
//	bench [TABLE...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A table is one of those that are printed.
type table struct {
	name, title string
	fill        func(*bench, context.Context) error
}

// tables are all tables, in the order in which they are made.
var tables = []table{
	{"follow", "From a new address to a right TURN allocation", (*bench).follow},
	{"router", "From the router's new address to a right TURN allocation", (*bench).router},
	{"hook", "How long OpenVPN stands still for its script", (*bench).hook},
	{"kernel", "From an address on an interface to a program that runs", (*bench).kernel},
	{"machines", "Among other machines at one broker", (*bench).machines},
	{"idle", "Doing nothing", (*bench).idle},
	{"fire", "Events taken in a second", (*bench).fire},
	{"wire", "Bytes to find out the public address", (*bench).wire},
	{"size", "Size, and the time to start", (*bench).size},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == insideWord {
		report(serveInside(os.Args[2:]))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	report(err)
}

// report ends the program when there is an error.
func report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run makes the tables of these names, or all.
func run(ctx context.Context, names []string) (err error) {
	for _, name := range names {
		if !slices.ContainsFunc(tables, func(t table) bool { return t.name == name }) {
			return fmt.Errorf("there is no table %q; there are %s", name, strings.Join(tableNames(), ", "))
		}
	}
	b := &bench{}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, t := range tables {
		if len(names) > 0 && !slices.Contains(names, t.name) {
			continue
		}
		fmt.Printf("\n%s (%s)\n%s; %d processors, load %s\n\n", t.title, t.name, time.Now().Format(time.DateOnly),
			runtime.NumCPU(), load())
		if err := t.fill(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func tableNames() (names []string) {
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

// load is the load average of the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg") // In /proc; without it the table is as good.
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
