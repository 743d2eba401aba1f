package simulate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd/systemdtest"
	"netwatch/turn"
)

// The unit's start limit, which is systemd's default.
const (
	burst    = 5
	interval = 10 * time.Second
)

// A unit is the server's, and the systemd that runs it.
type unit struct {
	*World
	active, sub, result string
	invocation          uint64
	pid                 uint32
	// since is when it was last started, by either clock, and changed when it became
	// another.
	since   time.Time
	changed time.Duration
	starts  []time.Duration
	// conf are the files as they were read at the start.
	conf [2][]byte
	// leaf is the certificate that it has.
	leaf int
	// jobs are those that have not ended; last is the number of the newest.
	jobs map[uint32]*job
	last uint32
	// stopped is when somebody stopped it last, and asked when netwatch last had a job done.
	stopped, asked time.Time
	// loses says that the bus ends with the next job, before that is answered.
	loses bool
	// by is the life that had it started last.
	by int
}

// A job is one of systemd's.
type job struct {
	id     uint32
	method string
	over   bool
	// again says that it is asked for again, and all of it is to be done once more.
	again bool
}

// A mood is how the next jobs go, one after the other.
type mood struct{ next []string }

// take is how the next job goes. w.mu is held.
func (m *mood) take() string {
	if len(m.next) == 0 {
		return "well"
	}
	how := m.next[0]
	m.next = m.next[1:]
	return how
}

func newUnit(w *World) *unit {
	u := &unit{World: w, jobs: map[uint32]*job{}}
	u.begin()
	return u
}

// begin has the program run with the file as it is. w.mu is held.
func (u *unit) begin() {
	u.leaf = u.cert.number
	for i, f := range u.files {
		u.conf[i] = f.text
	}
	u.invocation++
	u.pid = uint32(1000 + u.invocation)
	u.active, u.sub, u.result = "active", "running", "success"
	u.since, u.changed = time.Now(), u.now()
}

// be changes how it is. w.mu is held.
func (u *unit) be(active, sub, result string) {
	u.active, u.sub, u.result, u.changed = active, sub, result, u.now()
	if active == "inactive" || active == "failed" {
		u.pid = 0
	}
}

// Asked is called before each call. While the bus is down there is none.
func (u *unit) Asked(member string) error {
	pass(u.lag("bus "+member, 50*time.Microsecond, 900*time.Microsecond))
	return nil
}

// boot is what CLOCK_MONOTONIC says when the world begins.
const boot = time.Hour

func (u *unit) uptime() time.Duration { return boot + u.now() }

func usec(d time.Duration) uint64 { return uint64(d / time.Microsecond) }

// Properties are as systemd tells them.
func (u *unit) Properties(name string) map[string]any {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name != unitName {
		return map[string]any{"Id": name, "LoadState": "not-found", "ActiveState": "inactive"}
	}
	since := boot + u.since.Sub(u.born)
	queued := struct {
		ID   uint32
		Path systemdtest.Job
	}{0, "/"}
	for id := range u.jobs {
		queued.ID, queued.Path = id, systemdtest.JobOf(id)
	}
	id := binary.BigEndian.AppendUint64(make([]byte, 8), u.invocation)
	return map[string]any{
		"Id": unitName, "LoadState": "loaded", "ActiveState": u.active, "SubState": u.sub, "CanReload": false,
		"InvocationID": id, "Result": u.result, "ReloadResult": "success", "Type": "simple",
		"MainPID": u.pid, "NRestarts": uint32(0),
		"StartLimitBurst": uint32(burst), "StartLimitIntervalUSec": usec(interval),
		"ConditionResult": true, "ConditionTimestamp": uint64(1),
		"InactiveExitTimestamp":          uint64(u.since.UnixMicro()),
		"InactiveExitTimestampMonotonic": usec(since), "StateChangeTimestampMonotonic": usec(boot + u.changed),
		"Job": queued,
		"ExecStart": []struct {
			Path    string
			Words   []string
			Ignore  bool
			A, B    uint64
			C, D    uint64
			PID     uint32
			Code, S int32
		}{{Path: "/usr/bin/turnserver", Words: []string{"turnserver", "-c", u.path("turnserver.conf")}}},
	}
}

// Has says whether a job has not ended.
func (u *unit) Has(id uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.jobs[id] != nil
}

// Queue begins a job.
func (u *unit) Queue(method, name string) (uint32, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name != unitName {
		return 0, systemdtest.Error{Name: "org.freedesktop.systemd1.NoSuchUnit", Text: name}
	}
	how := u.mood.take()
	if how != "well" {
		u.story.fault("a job goes otherwise: " + how)
	}
	if how == "refuse" {
		u.tell("systemd refuses %s", method)
		return 0, systemdtest.Error{Name: "org.freedesktop.DBus.Error.AccessDenied", Text: "Permission denied"}
	}
	u.needless()
	u.asked = time.Now()
	u.story.Restarts++
	j := u.queued(method, how)
	if u.loses {
		u.loses = false
		u.story.fault("the answer about a job is lost with the bus")
		u.tell("the bus ends")
		u.bus.HangUp()
	}
	return j.id, nil
}

// queued is a new job, or the one that there is: systemd has that do all of it once more
// (job_install of src/core/job.c). w.mu is held.
func (u *unit) queued(method, how string) *job {
	for _, j := range u.jobs {
		u.tell("systemd: %s once more", method)
		j.again = true
		return j
	}
	u.last++
	j := &job{id: u.last, method: method}
	u.jobs[j.id] = j
	u.tell("systemd: %s, which goes %s", method, how)
	u.beside(func() { u.work(j, how) })
	return j
}

// work does a restart.
func (u *unit) work(j *job, how string) {
	span := func(least, most time.Duration) { pass(u.lag("job", least, most)) }
	do := func(f func()) bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !j.over {
			f()
		}
		return !j.over
	}
	u.bus.Changed(unitName)
	if !do(func() {
		if u.active == "active" {
			u.be("deactivating", "stop-sigterm", u.result)
		}
	}) {
		return
	}
	switch how {
	case "slow":
		span(3*time.Second, 12*time.Second)
	case "hang":
		span(80*time.Second, 100*time.Second)
	default:
		span(20*time.Millisecond, 300*time.Millisecond)
	}
	if !do(func() { u.be("inactive", "dead", "success") }) {
		return
	}
	span(time.Millisecond, 5*time.Millisecond)
	u.startFor(j, how, do, span)
	u.bus.Changed(unitName)
}

// startFor does the second half of a restart.
func (u *unit) startFor(j *job, how string, do func(func()) bool, span func(least, most time.Duration)) {
	result := "done"
	if !do(func() {
		if u.limited() {
			u.be("failed", "failed", "start-limit-hit")
			if !u.excused {
				u.broken("the start limit is reached")
			}
			result = "failed"
			return
		}
		if how == "fail" {
			u.since = time.Now()
			u.be("failed", "failed", "exit-code")
			result = "failed"
			return
		}
		u.begin()
	}) {
		return
	}
	span(5*time.Millisecond, 60*time.Millisecond)
	u.mu.Lock()
	if j.over {
		u.mu.Unlock()
		return
	}
	if j.again {
		j.again = false
		u.mu.Unlock()
		u.work(j, "well")
		return
	}
	u.finish(j, result)
	u.mu.Unlock()
	if how == "die" {
		span(10*time.Millisecond, 150*time.Millisecond)
		u.mu.Lock()
		if u.active == "active" {
			u.tell("the server dies")
			u.be("failed", "failed", "exit-code")
		}
		u.mu.Unlock()
	}
}

// limited counts a start, and says whether it is one too many. w.mu is held.
func (u *unit) limited() bool {
	u.starts = append(u.lately(), u.now())
	return len(u.starts) > burst
}

// lately are the starts that count.
func (u *unit) lately() []time.Duration {
	return slices.DeleteFunc(u.starts, func(at time.Duration) bool { return u.now()-at > interval })
}

// finish ends a job, and tells of it unless nobody can hear. w.mu is held.
func (u *unit) finish(j *job, result string) {
	j.over = true
	delete(u.jobs, j.id)
	u.tell("systemd: the job is %s, the unit %s", result, u.active)
	bus := u.bus
	time.AfterFunc(u.spanOf("signal", 10*time.Microsecond, 300*time.Microsecond), func() {
		bus.Removed(j.id, unitName, result)
	})
}

// spanOf is lag for who holds w.mu.
func (w *World) spanOf(name string, least, most time.Duration) time.Duration {
	return between(w.draw(name), least, most)
}

// named finds the public address in a file of the server.
var named = regexp.MustCompile(`(?m)^(?:external-ip=|  node_ip: )([0-9a-f.:]+)$`)

// says is what the server tells its callers, or nothing.
func says(conf []byte) netip.Addr {
	if found := named.FindSubmatch(conf); found != nil {
		a, _ := netip.ParseAddr(string(bytes.TrimSpace(found[1])))
		return a
	}
	return netip.Addr{}
}

// running says whether the program runs. w.mu is held.
func (u *unit) running() bool { return u.active == "active" || u.active == "deactivating" }

// allocate is what a caller of the server gets.
func (u *unit) allocate(ctx context.Context, a turn.Ask) (netip.Addr, *x509.Certificate, error) {
	select {
	case <-time.After(u.lag("allocate "+string(a.Over), time.Millisecond, 5*time.Millisecond)):
	case <-ctx.Done():
		return netip.Addr{}, nil, context.Cause(ctx)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch gets := says(u.conf[0]); {
	case !u.running(), a.Over == servers.TLS, a.To.Port() != 3478:
		return netip.Addr{}, nil, os.NewSyscallError("read", unix.ECONNREFUSED)
	case a.Who == nil:
		return netip.Addr{}, nil, turn.ErrNobody
	case a.Family == netwatch.IPv6 && u.reaches(netwatch.IPv6):
		return u.line.families[netwatch.IPv6].own, nil, nil
	case gets.IsValid():
		return gets, nil, nil
	}
	return netip.MustParseAddr("192.168.1.5"), nil, nil
}
