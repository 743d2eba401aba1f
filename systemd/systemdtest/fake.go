// Package systemdtest plays org.freedesktop.systemd1 on a bus of its own. It fakes
// what a real systemd cannot be made to do on demand: losing a signal, going away
// between two words, answering each error. The lab does the same steps with a real
// one.
package systemdtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// The names that systemd has on the bus.
const (
	systemd     = "org.freedesktop.systemd1"
	manager     = systemd + ".Manager"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	unitPath    = managerPath + "/unit/t_2eservice"
	jobPath     = managerPath + "/job/"
	properties  = "org.freedesktop.DBus.Properties"
)

// A Fake is a systemd with one unit, t.service, that runs.
type Fake struct {
	conn   *dbus.Conn
	socket string
	stop   func() // ends the bus daemon
	// Awaited gets a word when somebody looks whether a job still exists, and so has
	// heard of it.
	Awaited chan Job

	mu     sync.Mutex
	unit   map[string]any // properties of the only unit
	refuse *dbus.Error    // of the methods that queue jobs and kill
	silent bool
	loses  bool
	holds  chan struct{}
	again  []func() // what is done in calls whose answers are lost
	calls  []string
	work   Work
}

// A Job is the path of a job on the bus.
type Job = dbus.ObjectPath

// A Work is what a job, or a signal, does; it runs in a goroutine of its own and
// returns the job's result. call is what systemd was called with.
type Work func(f *Fake, call string) string

// New starts a bus and a systemd on it, which end with the test.
func New(t testing.TB) *Fake {
	t.Helper()
	socket := filepath.Join(shortDir(t), "bus")
	stop := startBus(t, socket)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	f := &Fake{socket: socket, stop: stop, Awaited: make(chan Job), unit: map[string]any{
		"Id": "t.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "CanReload": true,
		"InvocationID": []byte{1}, "Result": "success", "ReloadResult": "success", "Type": "simple",
		"MainPID": uint32(100), "NRestarts": uint32(0),
		"StartLimitBurst": uint32(5), "StartLimitIntervalUSec": uint64(10_000_000),
		"ConditionResult": true, "ConditionTimestamp": uint64(1),
	}}
	f.appear(t)
	return f
}

// shortDir is a directory whose name leaves room for that of a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`

// startBus starts a bus daemon and returns what ends it and waits for its end.
func startBus(t testing.TB, socket string) func() {
	t.Helper()
	config := socket + ".conf"
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // Also when the test panics
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
func (f *Fake) appear(t testing.TB) {
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
		"LoadUnit":  func(string) (dbus.ObjectPath, *dbus.Error) { return unitPath, nil },
		"Subscribe": func() *dbus.Error { return nil },
		"KillUnit":  f.kill,
		"ListUnitFiles": func() ([][]string, *dbus.Error) {
			return [][]string{{"/lib/systemd/system/coturn.service", "enabled"}}, nil
		},
		"ListUnits": func() ([][]string, *dbus.Error) {
			return [][]string{{"coturn2.service", "", "loaded"}, {"coturm.service", "", "not-found"}}, nil
		},
	}
	for _, verb := range []string{
		"RestartUnit", "TryRestartUnit", "ReloadUnit", "ReloadOrRestartUnit", "StartUnit", "StopUnit",
	} {
		methods[verb] = func(_, mode string) (Job, *dbus.Error) { return f.job(verb + " " + mode) }
	}
	for _, err := range []error{
		conn.ExportMethodTable(methods, managerPath, manager),
		conn.ExportMethodTable(map[string]any{"GetAll": f.properties, "Get": f.property}, unitPath, properties),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.RequestName(systemd, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
}

func (f *Fake) properties(string) (map[string]dbus.Variant, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]dbus.Variant{}
	for k, v := range f.unit {
		all[k] = dbus.MakeVariant(v)
	}
	return all, nil
}

func (f *Fake) property(_, name string) (dbus.Variant, *dbus.Error) {
	all, err := f.properties("")
	return all[name], err
}

// called notes a call, and is the error that it is refused with.
func (f *Fake) called(call string) (uint32, *dbus.Error) {
	f.mu.Lock()
	holds, again := f.holds, f.again
	f.again = again[min(1, len(again)):]
	f.mu.Unlock()
	if holds != nil {
		<-holds
	}
	if len(again) > 0 {
		again[0]()
		f.be(func() { f.calls = append(f.calls, call) })
		return 0, dbus.NewError("org.freedesktop.DBus.Error.NoReply",
			[]any{"Message recipient disconnected from message bus without replying"})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	if f.loses {
		f.stop()
	}
	return uint32(len(f.calls)), f.refuse //nolint:gosec // They are few.
}

func (f *Fake) kill(_, whom string, sig int32) *dbus.Error {
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

func (f *Fake) job(call string) (dbus.ObjectPath, *dbus.Error) {
	id, refused := f.called(call)
	if refused != nil {
		return "/", refused
	}
	path := Job(fmt.Sprint(jobPath, id))
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
		_ = conn.Emit(managerPath, manager+".JobRemoved", uint32(9999), jobPath+"9999", "other.service", "failed")
		if !silent {
			_ = conn.Emit(managerPath, manager+".JobRemoved", id, path, "t.service", result)
		}
	}()
	return path, nil
}

// setJob makes a job's object exist or not.
func (f *Fake) setJob(path dbus.ObjectPath, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var methods map[string]any
	if there {
		methods = map[string]any{"Get": func(string, string) (dbus.Variant, *dbus.Error) {
			select {
			case f.Awaited <- path:
			default:
			}
			return dbus.MakeVariant("running"), nil
		}}
	} else {
		methods = map[string]any{"Get": func(string, string) (dbus.Variant, *dbus.Error) {
			return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownObject", []any{"Unknown object"})
		}}
	}
	_ = f.conn.ExportMethodTable(methods, path, properties)
}

// A queued is a unit's property Job.
type queued struct {
	ID   uint32
	Path Job
}

// Queue makes a job that the unit says is queued for it.
func (f *Fake) Queue(path Job) {
	f.setJob(path, true)
	f.SetUntold("Job", queued{77, path})
}

// End ends such a job, with a result.
func (f *Fake) End(t testing.TB, path Job, result string) {
	t.Helper()
	f.setJob(path, false)
	f.SetUntold("Job", queued{0, "/"})
	if err := f.conn.Emit(managerPath, manager+".JobRemoved", uint32(77), path, "t.service", result); err != nil {
		t.Error(err)
	}
}

// Set changes properties, pairs of name and value, and tells of all that there
// are, as systemd does.
func (f *Fake) Set(pairs ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pair := range slices.Chunk(pairs, 2) {
		f.unit[pair[0].(string)] = pair[1]
	}
	changed := map[string]dbus.Variant{}
	for k, v := range f.unit {
		changed[k] = dbus.MakeVariant(v)
	}
	_ = f.conn.Emit(unitPath, properties+".PropertiesChanged", systemd+".Unit", changed, []string{})
}

// SetUntold changes one property without a signal.
func (f *Fake) SetUntold(name string, value any) {
	f.be(func() { f.unit[name] = value })
}

// Get is a property.
func (f *Fake) Get(name string) (value any) {
	f.be(func() { value = f.unit[name] })
	return value
}

// be looks at the fake, or changes how it is from now on.
func (f *Fake) be(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Does says what jobs and signals do from now on; nil does not end.
func (f *Fake) Does(work Work) { f.be(func() { f.work = work }) }

// Refuses has jobs and signals refused from now on, by the name of an error on the
// bus and its text.
func (f *Fake) Refuses(name, text string) {
	f.be(func() { f.refuse = dbus.NewError(name, []any{text}) })
}

// Permits has jobs and signals refused no more.
func (f *Fake) Permits() { f.be(func() { f.refuse = nil }) }

// Silences has the signals about jobs lost from now on.
func (f *Fake) Silences() { f.be(func() { f.silent = true }) }

// LosesBus has the bus end before the next call is answered.
func (f *Fake) LosesBus() { f.be(func() { f.loses = true }) }

// BeginsAnew has systemd execute itself anew in as many calls as there are functions,
// after it has done what each of them does: nobody gets their answers.
func (f *Fake) BeginsAnew(meanwhile ...func()) { f.be(func() { f.again = meanwhile }) }

// Holds leaves what queues jobs and kills without an answer until the channel is closed.
func (f *Fake) Holds(until chan struct{}) { f.be(func() { f.holds = until }) }

// EndBus ends the bus.
func (f *Fake) EndBus() { f.stop() }

// NewBus ends the bus and puts another in its place, on which systemd still has
// the job.
func (f *Fake) NewBus(t testing.TB, job Job) {
	t.Helper()
	f.stop()
	startBus(t, f.socket)
	f.appear(t)
	f.setJob(job, true)
}

// Asked are the calls so far.
func (f *Fake) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Restarted is the work of a start that goes well.
func Restarted(f *Fake, _ string) string {
	f.Set("ActiveState", "active", "SubState", "running", "Result", "success",
		"InvocationID", []byte{2}, "MainPID", uint32(200))
	return "done"
}

// Forge sends everyone on the bus a signal that a job is done.
func Forge(t testing.TB, job Job) {
	t.Helper()
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	var names []string
	if err := conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Error(err)
	}
	for _, name := range names {
		body := []any{uint32(1), job, "t.service", "done"}
		conn.Send(&dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldPath: dbus.MakeVariant(managerPath),
			dbus.FieldInterface: dbus.MakeVariant(manager), dbus.FieldMember: dbus.MakeVariant("JobRemoved"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
		}}, nil)
	}
	// It answers after it has passed on what was sent before.
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Error(err)
	}
}
