package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/lab"
	"netwatch/sources"
)

// crowds are how many other machines there are beside the netwatch that is measured.
var crowds = []int{1, 10, 100, 1000}

const (
	// movesOfOne is how often one machine of them changes, each time another if there are so
	// many, and moveEvery the time between: of one machine less than that is told.
	movesOfOne = 10
	moveEvery  = 2200 * time.Millisecond
	// allEvery is the time between two machines that change, when all do.
	allEvery = 100 * time.Millisecond
	// crowdTime is how long a thousand may take, all of them on one machine with their broker.
	crowdTime = 10 * time.Minute
)

// machines measures what a netwatch takes among others at one broker.
func (b *bench) machines(ctx context.Context) (err error) {
	unix.Sync() // A program that is not on the disk yet counts as written to
	var all []*fleetFigures
	for _, n := range crowds {
		f, err := measureFleet(ctx, n)
		if err != nil {
			return fmt.Errorf("with %d others: %w", n, err)
		}
		all = append(all, f)
	}
	printFleets(all)
	return nil
}

// fleetFigures are what comes of it with one number of others.
type fleetFigures struct {
	others int
	// connect is until a netwatch that starts knows all, one a change of one, each a change
	// of all at once, and back until all know all after the broker was killed.
	connect, one, each, back share
	// seen is how long after a change of one the others see it, and seenEach of all at once.
	seen, seenEach lab.Times
	// state and status are bytes of the state and of status --json, and memory what it has
	// written to itself.
	state, status, memory int64
}

// A share is what one netwatch takes.
type share struct {
	took    time.Duration
	cpu     time.Duration
	broker  time.Duration // that the broker was on a processor meanwhile, for all
	in, out int64         // bytes of TCP
	writes  int           // of the state
}

// A fleet is a broker, a netwatch as its program, and a crowd.
type fleet struct {
	dir      string
	port     int
	broker   *exec.Cmd
	netwatch *exec.Cmd
	crowd    *crowd
	watch    *stateWatch
	told     told
	figures  *fleetFigures
}

func measureFleet(ctx context.Context, others int) (figures *fleetFigures, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "netwatch-bench") // A disk: /tmp may be none.
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f := &fleet{dir: dir, figures: &fleetFigures{others: others}}
	defer func() { err = errors.Join(err, f.close()) }()
	for _, step := range []func(context.Context) error{
		f.startBroker, f.gather, f.connect, f.moveOne, f.moveAll, f.weigh, f.brokerBack,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return f.figures, nil
}

func (f *fleet) close() error {
	for _, c := range []*exec.Cmd{f.netwatch, f.broker} {
		if c != nil {
			_ = c.Process.Kill() // It may have ended
			_ = c.Wait()
		}
	}
	if f.crowd != nil {
		f.crowd.leave()
	}
	if f.watch != nil {
		return f.watch.Close()
	}
	return nil
}

// startBroker starts Debian's mosquitto with its defaults, and room for so many.
func (f *fleet) startBroker(ctx context.Context) error {
	if f.port == 0 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		f.port = free.Addr().(*net.TCPAddr).Port
		_ = free.Close() // It was never used
	}
	conf := filepath.Join(f.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest none\n", f.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	f.broker = exec.CommandContext(ctx, "sh", "-c", "ulimit -n 8192; exec mosquitto -c "+conf)
	if err := f.broker.Start(); err != nil {
		return err
	}
	return within(ctx, crowdTime, func() error {
		c, err := net.Dial("tcp", f.address())
		if err == nil {
			_ = c.Close() // Nothing was said
		}
		return err
	})
}

func (f *fleet) address() string { return fmt.Sprintf("127.0.0.1:%d", f.port) }

// gather has the crowd connect, and waits until all of it hears all.
func (f *fleet) gather(ctx context.Context) error {
	f.crowd = gather(ctx, sources.Broker("mqtt://"+f.address()), f.figures.others)
	return within(ctx, crowdTime, func() error { return f.crowd.hears(f.figures.others - 1) })
}

// connect starts the netwatch, and waits until its state has all others.
func (f *fleet) connect(ctx context.Context) (err error) {
	state, password := filepath.Join(f.dir, "state"), filepath.Join(f.dir, "password")
	text := fmt.Sprintf("[daemon]\nsocket = \"%s/s\"\nstate = %q\n[source.mqtt]\nbroker = \"mqtt://%s\"\n"+
		"host = \"netwatch\"\npassword = \"@%s\"\n[[rule]]\non = [\"peer-changed\"]\nmatch = { peer = \"nobody\" }\n"+
		"do = [\"exec /bin/true\"]\n", f.dir, state, f.address(), password)
	err = errors.Join(os.Mkdir(state, 0o700), os.WriteFile(password, []byte("none\n"), 0o600),
		os.WriteFile(f.config(), []byte(text), 0o600))
	if err != nil {
		return err
	}
	if f.watch, err = watchState(state); err != nil {
		return err
	}
	f.netwatch = exec.CommandContext(ctx, "bin/netwatch", "-c", f.config(), "run")
	f.netwatch.Env, f.netwatch.Stderr = append(os.Environ(), asUnit), &f.told
	began := time.Now()
	if err := f.netwatch.Start(); err != nil {
		return err
	}
	err = within(ctx, crowdTime, func() error {
		if n := f.watch.peers(); n <= f.figures.others { // Itself too
			return fmt.Errorf("the state has %d machines of %d", n, f.figures.others)
		}
		return nil
	})
	f.figures.connect = f.since(share{broker: cpuOf(f.broker)}, f.watch.last().Sub(began))
	return err
}

func (f *fleet) config() string { return filepath.Join(f.dir, "netwatch.toml") }

// since is what the netwatch took beside what it had taken before, for what took a time.
func (f *fleet) since(before share, took time.Duration) share {
	s := f.now()
	return share{
		took, s.cpu - before.cpu, s.broker - before.broker, s.in - before.in, s.out - before.out, s.writes - before.writes,
	}
}

// now is what it took since it was started.
func (f *fleet) now() (s share) {
	s.cpu, s.broker, s.writes = cpuOf(f.netwatch), cpuOf(f.broker), f.watch.writes()
	s.in, s.out = f.bytes()
	return s
}

// cpuOf is how long a program was on a processor; nothing if it has ended, of which the next
// step tells.
func cpuOf(c *exec.Cmd) time.Duration {
	u, _ := usageOf(fmt.Sprint(c.Process.Pid))
	return u.CPU
}

var (
	bytesIn  = regexp.MustCompile(`bytes_received:(\d+)`)
	bytesOut = regexp.MustCompile(`bytes_sent:(\d+)`)
)

// bytes are those that its connection has taken and sent.
func (f *fleet) bytes() (in, out int64) {
	text, _ := exec.Command("ss", "-tinpOH", "dport", "=", fmt.Sprint(f.port)).Output() // Without it there are none
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, fmt.Appendf(nil, "pid=%d,", f.netwatch.Process.Pid)) {
			return number(bytesIn, line), number(bytesOut, line)
		}
	}
	return 0, 0
}

func number(what *regexp.Regexp, in []byte) int64 {
	found := what.FindSubmatch(in)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(found[1]), 10, 64) // It is digits
	return n
}

// moveOne has one machine after another change.
func (f *fleet) moveOne(ctx context.Context) error {
	before := f.now()
	for n := range movesOfOne {
		if err := wait(ctx, moveEvery); err != nil {
			return err
		}
		began := time.Now()
		f.crowd.move(n%f.figures.others, n+1)
		times, err := f.saw(ctx, 1)
		if err != nil {
			return err
		}
		f.figures.seen = append(append(f.figures.seen, times...), f.told.last().Sub(began))
	}
	f.figures.one = f.since(before, 0)
	return nil
}

// moveAll has each machine change.
func (f *fleet) moveAll(ctx context.Context) error {
	if err := wait(ctx, moveEvery); err != nil {
		return err
	}
	before := f.now()
	for n := range f.figures.others {
		f.crowd.move(n, 100)
		if err := wait(ctx, allEvery); err != nil {
			return err
		}
	}
	times, err := f.saw(ctx, f.figures.others)
	f.figures.seenEach, f.figures.each = times, f.since(before, 0)
	return err
}

// saw waits until so many changes were seen by all others.
func (f *fleet) saw(ctx context.Context, changes int) (lab.Times, error) {
	times, err := f.crowd.saw(ctx, changes*(f.figures.others-1))
	if err != nil {
		return nil, err
	}
	return times, within(ctx, crowdTime, func() error {
		if n := f.told.take(changes); n < changes {
			return fmt.Errorf("the netwatch tells of %d changes of %d", n, changes)
		}
		return nil
	})
}

// weigh looks how large things are.
func (f *fleet) weigh(ctx context.Context) error {
	u := usage{}
	if err := u.weigh(fmt.Sprint(f.netwatch.Process.Pid)); err != nil {
		return err
	}
	f.figures.memory, f.figures.state = u.Private, int64(len(f.watch.text()))
	status, err := exec.CommandContext(ctx, "bin/netwatch", "-c", f.config(), "status", "--json").Output()
	f.figures.status = int64(len(status))
	return err
}

// brokerBack kills the broker, starts an empty one, and waits until all hear all.
func (f *fleet) brokerBack(ctx context.Context) error {
	before := f.now()
	_ = f.broker.Process.Kill() // It runs
	_ = f.broker.Wait()
	if err := f.startBroker(ctx); err != nil {
		return err
	}
	before.broker = 0 // It is another
	began := time.Now()
	err := within(ctx, crowdTime, func() error { return errors.Join(f.crowd.hears(f.figures.others), f.hears(ctx)) })
	f.figures.back = f.since(before, time.Since(began))
	return err
}

// hears says whether the netwatch hears all.
func (f *fleet) hears(ctx context.Context) error {
	text, err := exec.CommandContext(ctx, "bin/netwatch", "-c", f.config(), "status", "--json").Output()
	if n := bytes.Count(text, []byte(`"`+netwatch.PeerHere+`"`)); err == nil && n != f.figures.others {
		err = fmt.Errorf("the netwatch hears %d of %d", n, f.figures.others)
	}
	return err
}

// A told is the log of a netwatch, which counts the changes of others that it tells of.
type told struct {
	mu sync.Mutex // guards what follows
	n  int
	at time.Time
}

// Write takes lines of the log.
func (t *told) Write(lines []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := bytes.Count(lines, []byte(`"told":"ip-changed"`)); n > 0 {
		t.n, t.at = t.n+n, time.Now()
	}
	return len(lines), nil
}

// take forgets so many, if there are so many, and returns how many there are.
func (t *told) take(many int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := t.n
	if there >= many {
		t.n -= many
	}
	return there
}

// last is when it told of one last.
func (t *told) last() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// A stateWatch counts how often a state is written.
type stateWatch struct {
	*fsnotify.Watcher
	file string

	mu sync.Mutex // guards what follows
	n  int
	at time.Time
}

func watchState(dir string) (*stateWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	s := &stateWatch{Watcher: w, file: filepath.Join(dir, "state.json")}
	go func() { // Ends with the watcher.
		for ev := range w.Events {
			if ev.Name == s.file && ev.Has(fsnotify.Create) {
				s.mu.Lock()
				s.n, s.at = s.n+1, time.Now()
				s.mu.Unlock()
			}
		}
	}()
	return s, w.Add(dir)
}

func (s *stateWatch) writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *stateWatch) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// text is the state; empty while there is none.
func (s *stateWatch) text() []byte {
	text, _ := os.ReadFile(s.file)
	return text
}

// peers is how many machines it has.
func (s *stateWatch) peers() int {
	var st struct{ Seen map[string]map[string]string }
	_ = json.Unmarshal(s.text(), &st) // Without it there are none
	return len(st.Seen[netwatch.PeerChanged])
}

func printFleets(all []*fleetFigures) {
	s := newSheet("others", "known after", "CPU", "KB in", "KB out", "writes", "KB of state", "of status", "own MB")
	for _, f := range all {
		c := f.connect
		s.row(f.others, c.took, c.cpu, kb(c.in), kb(c.out), c.writes, kb(f.state), kb(f.status), mb(f.memory))
	}
	_ = s.end() // As fmt.Println
	fmt.Println()
	s = newSheet("changes", "others", "seen, median", "99 of 100", "worst", "of the netwatch: CPU", "KB in", "KB out",
		"writes", "of the broker: CPU")
	for _, f := range all {
		f.row(s, movesOfOne, f.seen, f.one)
		f.row(s, f.others, f.seenEach, f.each)
	}
	_ = s.end()
	fmt.Println()
	s = newSheet("broker killed", "others", "all hear all after", "CPU", "writes", "of the broker: CPU")
	for _, f := range all {
		s.row("", f.others, f.back.took, f.back.cpu, f.back.writes, f.back.broker)
	}
	_ = s.end()
}

// row is what changes took.
func (f *fleetFigures) row(s sheet, changes int, seen lab.Times, took share) {
	if len(seen) == 0 {
		return // There is none beside the netwatch
	}
	s.row(changes, f.others, quantile(seen, .5), quantile(seen, .99), quantile(seen, 1), took.cpu, kb(took.in),
		kb(took.out), took.writes, took.broker)
}

func kb(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1e3) }
