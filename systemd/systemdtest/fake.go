package actions

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"netwatch"
)

// A fakeSystemd plays org.freedesktop.systemd1 on a private bus. It is a fake
// for what a real systemd cannot be made to do on demand: to lose a signal, to
// go away between two words, to answer each error. The lab does the same steps
// on a real one.
type fakeSystemd struct {
	conn *dbus.Conn
	stop func() // ends the bus daemon
	// awaited gets a word when somebody looks whether a job still exists, and
	// so has heard of it.
	awaited chan dbus.ObjectPath

	mu     sync.Mutex
	unit   map[string]any // properties of the only unit
	refuse *dbus.Error    // of the methods that queue jobs and kill
	silent bool           // JobRemoved is lost
	loses  bool           // the bus ends before a call is answered
	holds  chan struct{}  // what queues jobs and kills is not answered before it is closed
	calls  []string
	// work is what a job, or a signal, does; it runs in a goroutine of its own
	// and returns the job's result.
	work func(f *fakeSystemd, call string) string
}

const fakeUnitPath = dbus.ObjectPath("/org/freedesktop/systemd1/unit/t_2eservice")

// startFake starts a bus and a systemd with one unit, t.service, that runs.
func startFake(t *testing.T) *fakeSystemd {
	t.Helper()
	socket := filepath.Join(shortDir(t), "bus")
	stop := startBus(t, socket)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	f := &fakeSystemd{stop: stop, awaited: make(chan dbus.ObjectPath), unit: map[string]any{
		"Id": "t.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "CanReload": true,
		"InvocationID": []byte{1}, "Result": "success", "ReloadResult": "success", "Type": "simple", "MainPID": uint32(100), "NRestarts": uint32(0),
		"StartLimitBurst": uint32(5), "StartLimitIntervalUSec": uint64(10_000_000), "ConditionResult": true, "ConditionTimestamp": uint64(1),
	}}
	f.appear(t)
	return f
}

// shortDir is a directory whose name leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`

// startBus starts a bus daemon and returns what ends it and waits for its end.
func startBus(t *testing.T, socket string) func() {
	t.Helper()
	config := socket + ".conf"
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test panics
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting a private bus (Debian package dbus): %v", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("waiting for the private bus: %v", err)
	}
	stop := sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

// appear connects the fake to the bus and gives it systemd's name.
func (f *fakeSystemd) appear(t *testing.T) {
	t.Helper()
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f.mu.Lock()
	f.conn = conn
	f.mu.Unlock()
	methods := map[string]any{
		"LoadUnit":  func(string) (dbus.ObjectPath, *dbus.Error) { return fakeUnitPath, nil },
		"Subscribe": func() *dbus.Error { return nil },
		"KillUnit":  f.kill,
		"ListUnitFiles": func() ([][]string, *dbus.Error) {
			return [][]string{{"/lib/systemd/system/coturn.service", "enabled"}}, nil
		},
		"ListUnits": func() ([][]string, *dbus.Error) {
			return [][]string{{"coturn2.service", "", "loaded"}, {"coturm.service", "", "not-found"}}, nil
		},
	}
	for _, v := range unitVerbs {
		methods[v.method] = func(_, mode string) (dbus.ObjectPath, *dbus.Error) { return f.job(v.method + " " + mode) }
	}
	for _, err := range []error{
		conn.ExportMethodTable(methods, managerPath, manager),
		conn.ExportMethodTable(map[string]any{"GetAll": f.properties}, fakeUnitPath, properties),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.RequestName(systemd, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
}

func (f *fakeSystemd) properties(string) (map[string]dbus.Variant, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]dbus.Variant{}
	for k, v := range f.unit {
		all[k] = dbus.MakeVariant(v)
	}
	return all, nil
}

// called notes a call, and is the error that it is refused with.
func (f *fakeSystemd) called(call string) (int, *dbus.Error) {
	f.mu.Lock()
	holds := f.holds
	f.mu.Unlock()
	if holds != nil {
		<-holds
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	if f.loses {
		f.stop()
	}
	return len(f.calls), f.refuse
}

func (f *fakeSystemd) kill(_, whom string, sig int32) *dbus.Error {
	call := fmt.Sprintf("KillUnit %s %d", whom, sig)
	if _, err := f.called(call); err != nil {
		return err
	}
	f.mu.Lock()
	work := f.work
	f.mu.Unlock()
	work(f, call)
	return nil
}

func (f *fakeSystemd) job(call string) (dbus.ObjectPath, *dbus.Error) {
	id, refused := f.called(call)
	if refused != nil {
		return "/", refused
	}
	path := dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", id))
	f.setJob(path, true)
	f.mu.Lock()
	work := f.work
	f.mu.Unlock()
	if work == nil {
		return path, nil
	}
	go func() {
		result := work(f, call)
		f.setJob(path, false)
		f.mu.Lock()
		conn, silent := f.conn, f.silent
		f.mu.Unlock()
		// Another one first: a result must be that of our job.
		_ = conn.Emit(managerPath, manager+".JobRemoved", uint32(9999), dbus.ObjectPath("/org/freedesktop/systemd1/job/9999"), "other.service", "failed")
		if !silent {
			_ = conn.Emit(managerPath, manager+".JobRemoved", uint32(id), path, "t.service", result)
		}
	}()
	return path, nil
}

// setJob makes a job's object exist or not.
func (f *fakeSystemd) setJob(path dbus.ObjectPath, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var methods map[string]any
	if there {
		methods = map[string]any{"Get": func(string, string) (dbus.Variant, *dbus.Error) {
			select {
			case f.awaited <- path:
			default:
			}
			return dbus.MakeVariant("running"), nil
		}}
	} else {
		methods = map[string]any{"Get": func(string, string) (dbus.Variant, *dbus.Error) {
			return dbus.Variant{}, dbus.NewError(busError+"UnknownObject", []any{"Unknown object"})
		}}
	}
	_ = f.conn.ExportMethodTable(methods, path, properties)
}

// set changes properties, pairs of name and value, and tells of all that there
// are, as systemd does.
func (f *fakeSystemd) set(pairs ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 0; i < len(pairs); i += 2 {
		f.unit[pairs[i].(string)] = pairs[i+1]
	}
	changed := map[string]dbus.Variant{}
	for k, v := range f.unit {
		changed[k] = dbus.MakeVariant(v)
	}
	_ = f.conn.Emit(fakeUnitPath, properties+".PropertiesChanged", systemd+".Unit", changed, []string{})
}

// be changes how the fake is from now on.
func (f *fakeSystemd) be(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// does says what jobs and signals do from now on.
func (f *fakeSystemd) does(work func(f *fakeSystemd, call string) string) {
	f.be(func() { f.work = work })
}

// refuses says how jobs and signals are refused from now on.
func (f *fakeSystemd) refuses(err *dbus.Error) { f.be(func() { f.refuse = err }) }

// asked are the calls so far.
func (f *fakeSystemd) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// restarted is the work of a start that goes well.
func restarted(f *fakeSystemd, _ string) string {
	f.set("ActiveState", "active", "SubState", "running", "InvocationID", []byte{2}, "MainPID", uint32(200), "Result", "success")
	return "done"
}

// fakeStarts remembers in memory.
type fakeStarts struct{ times []time.Time }

func (s *fakeStarts) Of(string) []time.Time { return s.times }

func (s *fakeStarts) Record(_ string, at time.Time) error {
	s.times = append(s.times, at)
	return nil
}

// step makes a step from its line.
func step(t *testing.T, env Env, line string) netwatch.Step {
	t.Helper()
	words := strings.Fields(line)
	for _, v := range Verbs {
		if v.Name == words[0] {
			s, err := v.New(env, v.Name, words[1:])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return s
		}
	}
	t.Fatalf("%s: no such verb", line)
	return netwatch.Step{}
}

// do does a step within a deadline.
func do(t *testing.T, env Env, line string, deadline time.Duration) netwatch.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return step(t, env, line).Do(ctx, netwatch.Job{})
}

// wantResult compares an outcome and words that must be in what is said.
func wantResult(t *testing.T, got netwatch.Result, outcome netwatch.Outcome, words ...string) {
	t.Helper()
	said := got.Detail
	if got.Err != nil {
		said = got.Err.Error() + " hint: " + netwatch.Hint(got.Err)
	}
	if got.Outcome != outcome || (got.Err != nil) != (outcome == netwatch.Failed) {
		t.Errorf("outcome %q (%s), want %q", got.Outcome, said, outcome)
	}
	if outcome == netwatch.Failed && got.Err != nil && netwatch.Hint(got.Err) == "" {
		t.Errorf("%v has no remedy", got.Err)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it says %q, which lacks %q", said, w)
		}
	}
}
