package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/history"
	"netwatch/sources"
)

func TestMain(m *testing.M) {
	// The server waits for a moment until who was refused has read why.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// configured is a configuration with a socket and a state of its own.
func configured(t *testing.T, rest string) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "netwatch.toml")
	rewrite(t, file, rest)
	return file
}

// rewrite writes a configuration, of which the socket and the state stay.
func rewrite(t *testing.T, file, rest string) {
	t.Helper()
	dir := filepath.Dir(file)
	text := fmt.Sprintf("[daemon]\nsocket = %q\nstate = %q\n%s", dir+"/s", dir+"/state", rest)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A running is a daemon that runs here, without a process of its own.
type running struct {
	*testing.T
	*Daemon
	file    string
	client  *control.Client
	hangups chan os.Signal
	heard   func() []string // what systemd was told
	cancel  func()
	ended   chan error
}

// started runs a daemon of a configuration until it says that it is ready.
func started(t *testing.T, rest string) *running {
	t.Helper()
	file := configured(t, rest)
	d, err := New(file, "devel", zerolog.Nop(), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{
		t, d, file, control.NewClient(filepath.Dir(file) + "/s"), make(chan os.Signal), told(t), cancel, make(chan error, 1),
	}
	go func() { r.ended <- d.Run(ctx, r.hangups) }()
	r.await("READY=1")
	return r
}

// await waits until systemd is told that.
func (r *running) await(state string) {
	r.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !slices.ContainsFunc(r.heard(), func(s string) bool { return strings.HasPrefix(s, state) }) {
		if time.Now().After(deadline) {
			r.Fatalf("systemd is not told %s", state)
		}
	}
}

// reload has the daemon read another configuration, and returns when it says that it
// has.
func (r *running) reload(rest string) {
	r.Helper()
	rewrite(r.T, r.file, rest)
	r.hangups <- syscall.SIGHUP
	r.await("READY=1")
}

// fire fires an event over the socket, and returns its id and how its runs ended.
func (r *running) fire(event string) (id string, runs []string) {
	r.Helper()
	err := r.client.Fire(r.Context(), control.Request{Event: event},
		func(a control.Accepted) { id = a.ID },
		func(e netwatch.Entry) {
			if e.Kind == netwatch.EntryRun {
				runs = append(runs, e.Rule+" "+string(e.Outcome))
			}
		})
	if err != nil {
		r.Errorf("firing %s: %v", event, err)
	}
	return id, runs
}

// stop ends the daemon as SIGTERM does.
func (r *running) stop() {
	r.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.Error(err)
	}
}

// parts are the names of what runs: sockets, sources and rules. One that stands still
// says so.
func (r *running) parts() (all []string) {
	r.Helper()
	dir := filepath.Dir(r.file)
	sockets, err := filepath.Glob(dir + "/s*")
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range sockets {
		if info, err := os.Stat(s); err == nil && info.Mode().Type() == os.ModeSocket {
			all = append(all, "socket "+strings.TrimPrefix(s, dir+"/"))
		}
	}
	for i, s := range r.watch.status() {
		all = append(all, strings.TrimSuffix(fmt.Sprintf("source %s: %s: %s", s.Name, s.Kind, s.Error), ": "))
		select {
		case <-r.watch.all[i].done:
			r.Errorf("%s has ended", s.Name)
		default:
		}
	}
	for _, rule := range r.rules.Status() {
		all = append(all, "rule "+rule.Name)
	}
	return all
}

// What runs is what the configuration names, before and after each reload, and nothing
// once the daemon has ended. Each kind of source is in it.
func TestWhatRuns(t *testing.T) {
	settings := map[string]string{
		"stun":  "servers = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n",
		"file":  "files = [\"/etc/passwd\"]\n",
		"cert":  "files = [\"/nowhere/cert.pem\"]\n",
		"timer": "every = \"6h\"\n",
		"mqtt":  "broker = \"mqtt://127.0.0.1:9\"\nhost = \"a\"\npassword = \"@/nowhere/password\"\n",
	}
	text, kinds := "", []string(nil)
	for _, k := range sources.Kinds {
		text += "[source." + k.Name + "]\n" + settings[k.Name]
		kinds = append(kinds, fmt.Sprintf("source %s: %s", k.Name, k.Name))
	}
	sockets := []string{"socket s", "socket s.group", "socket s.source"}
	r := started(t, text+"[[rule]]\nname = \"one\"\non = [\"x\"]\ndo = [\"exec /bin/true\"]\n")
	want := slices.Concat(sockets, kinds, []string{"rule one"})
	if diff := cmp.Diff(want, r.parts()); diff != "" {
		t.Fatal(diff)
	}
	kept := r.watch.all[1]
	r.reload("[source.other]\nkind = \"file\"\n" + settings["file"] +
		"[source." + kept.Name + "]\n" + settings[kept.Name] +
		"[[rule]]\nname = \"two\"\non = [\"y\"]\ndo = [\"exec /bin/true\"]\n")
	want = slices.Concat(sockets, []string{"source other: file", kinds[1], "rule two"})
	if diff := cmp.Diff(want, r.parts()); diff != "" {
		t.Error(diff)
	}
	if r.watch.all[1] != kept {
		t.Errorf("%s is as it was, and was started anew", kept.Name)
	}
	r.stop()
	if got := r.watch.status(); len(got) > 0 {
		t.Errorf("still there is %v", got)
	}
}

// What sources are lent is of the configuration in force and of the files as they are
// now: whom the others ask, and which addresses servers are bound to.
func TestWhatSourcesAreLent(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "coturn.conf")
	const rule = "[[rule]]\non = [\"x\"]\ndo = [\"rotate coturn %s\"]\n"
	r := started(t, "[source.netlink]\n[source.stun]\nservers = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\ninterface = \"lo\"\n"+
		fmt.Sprintf(rule, conf))
	defer r.stop()
	if got := fmt.Sprint(r.watch.env.Asked()); got != "[{ipv4 lo 127.0.0.1 invalid IP} {ipv4 lo 127.0.0.2 invalid IP}]" {
		t.Errorf("asked are %s", got)
	}
	for text, want := range map[string]string{
		"relay-ip=192.0.2.1": "[192.0.2.1]",
		"relay-ip=192.0.2.2": "[192.0.2.2]", "": "[]",
	} {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(r.watch.env.Bound()); got != want {
			t.Errorf("with %q bound are %s", text, got)
		}
		text += "\nlistening-ip=192.0.2.3"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := r.watch.env.Relays()
		if err != nil || fmt.Sprint(got) != want && (want != "[]" || fmt.Sprint(got) != "[192.0.2.3]") {
			t.Errorf("with %q it relays from %s, %v", text, got, err)
		}
	}
	if err := os.WriteFile(conf, []byte("relay-ip=192.0.2.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []func() error{
		func() error { return os.Truncate(conf, 0) }, func() error { return os.Remove(conf) },
	} {
		if err := gone(); err != nil {
			t.Fatal(err)
		}
		if got, err := r.watch.env.Relays(); err == nil {
			t.Errorf("a file that says nothing names %v", got)
		}
	}
	r.reload("[source.netlink]\n" + fmt.Sprintf(rule, "/nowhere/coturn.conf"))
	if asked, bound := r.watch.env.Asked(), r.watch.env.Bound(); len(asked) > 0 || len(bound) > 0 {
		t.Errorf("after a reload: %v, %v", asked, bound)
	}
	if s := (controlled{r.Daemon}).Status(); s.Damped == nil {
		t.Error("what is held is null, and programs go through it")
	}
}

// What is fired over the socket runs, and is in history and counted.
func TestFiredOverTheSocket(t *testing.T) {
	r := started(t, "[[rule]]\nname = \"one\"\non = [\"x\"]\nsettle = \"0s\"\ndo = [\"exec /bin/true\"]\n")
	defer r.stop()
	id, runs := r.fire("x")
	if fmt.Sprint(runs) != "[one changed]" {
		t.Errorf("the runs were %v", runs)
	}
	kinds := ""
	_, err := r.client.History(t.Context(), history.Query{}, func(e netwatch.Entry) {
		if e.ID == id {
			kinds += e.Kind + " "
		}
	})
	if err != nil || kinds != "event step run " {
		t.Errorf("in history there is %s, %v", kinds, err)
	}
	s, err := r.client.Status(t.Context())
	if err != nil || s.Version != "devel" || s.PID != os.Getpid() || s.Config != r.file || s.Rules[0].Last.ID != id {
		t.Errorf("the status is %+v, %v", s, err)
	}
	err = r.client.Fire(t.Context(), control.Request{Event: "y"}, func(control.Accepted) {}, nil)
	if !errors.Is(err, control.ErrUnknownEvent) {
		t.Errorf("an event that no rule names: %v", err)
	}
}

// A good configuration is in force once it is read again; one with mistakes changes
// nothing, and the status says so until there is a good one.
func TestReloaded(t *testing.T) {
	const rule = "[[rule]]\nname = %q\non = [%q]\nsettle = \"0s\"\ndo = [%q]\n"
	r := started(t, fmt.Sprintf(rule, "one", "x", "exec /bin/true"))
	defer r.stop()
	r.reload(fmt.Sprintf(rule, "wrong", "y", "exce /bin/true"))
	if s := (controlled{r.Daemon}).Status(); !strings.Contains(s.Refused, "unknown step") || s.Rules[0].Name != "one" {
		t.Errorf("after a reload with mistakes: %+v", s)
	}
	if _, runs := r.fire("x"); fmt.Sprint(runs) != "[one changed]" {
		t.Errorf("the runs were %v", runs)
	}
	r.reload(fmt.Sprintf(rule, "two", "y", "exec /bin/true"))
	if s := (controlled{r.Daemon}).Status(); s.Refused != "" {
		t.Errorf("after a good one: %+v", s)
	}
	if _, runs := r.fire("y"); fmt.Sprint(runs) != "[two changed]" {
		t.Errorf("the runs were %v", runs)
	}
}

// Who ends the daemon waits for the run that is going on, and for no more: the socket
// takes nobody, and the state is free for the next one.
func TestDrained(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := started(t, "[[rule]]\nname = \"slow\"\non = [\"x\"]\nsettle = \"0s\"\ndo = [\"exec /bin/cat "+fifo+"\"]\n")
	none := func(netwatch.Entry) {}
	err := r.client.Fire(t.Context(), control.Request{Event: "x", NoWait: true}, func(control.Accepted) {}, none)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // Once it is read, which the step does.
	if err != nil {
		t.Fatal(err)
	}
	r.cancel()
	r.await("STOPPING=1")
	select {
	case err := <-r.ended:
		t.Fatalf("it has not waited for the run (%v)", err)
	case <-time.After(50 * time.Millisecond):
	}
	err = r.client.Fire(t.Context(), control.Request{Event: "x"}, func(control.Accepted) {}, none)
	if !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("firing while it drains: %v", err)
	}
	if _, err := New(r.file, "devel", zerolog.Nop(), actions.Env{}); err == nil {
		t.Error("two daemons have the state")
	}
	_ = w.Close()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	all := past(t, r.Daemon)
	if n := len(all); n == 0 || all[n-1].Kind != netwatch.EntryRun || all[n-1].Outcome != netwatch.Changed {
		t.Errorf("at the end of history is no run: %+v", all)
	}
	next, err := New(r.file, "devel", zerolog.Nop(), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.store.Close(); err != nil {
		t.Error(err)
	}
}

// A daemon that cannot begin says why, and leaves the state to the next one.
func TestNotBegun(t *testing.T) {
	const rule = "[[rule]]\non = [\"x\"]\ndo = [\"%s /bin/true\"]\n"
	file := configured(t, fmt.Sprintf(rule, "exce"))
	if _, err := New(file, "devel", zerolog.Nop(), actions.Env{}); !errors.As(err, new(config.Mistakes)) {
		t.Errorf("with mistakes: %v", err)
	}
	rewrite(t, file, fmt.Sprintf(rule, "exec"))
	for range 2 {
		d, err := New(file, "devel", zerolog.Nop(), actions.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(file)+"/s/x", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context(), nil); err == nil {
			t.Error("it runs without a socket")
		}
	}
}
