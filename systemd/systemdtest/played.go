package systemdtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// A Systemd is what a Played one says and does. Its methods are called by one goroutine a
// connection, and may take their time.
type Systemd interface {
	// Properties are those of a unit.
	Properties(unit string) map[string]any
	// Queue begins a job by a method of the manager, as RestartUnit, and returns its number.
	// What it refuses is an Error.
	Queue(method, unit string) (job uint32, err error)
	// Has says whether a job has not ended.
	Has(job uint32) bool
	// Asked is called before each call is answered. An error ends the connection.
	Asked(member string) error
}

// An Error is what systemd refuses, by its name on the bus and a text.
type Error struct{ Name, Text string }

// Error is both.
func (e Error) Error() string { return e.Name + ": " + e.Text }

// A Played is a systemd and the bus that it is on, over pipes: it needs no process, no
// socket and no time but that of who plays it, as in a synctest bubble.
type Played struct {
	systemd Systemd

	mu    sync.Mutex
	lines []*line // in the order in which they were made
}

// Play makes one.
func Play(s Systemd) *Played { return &Played{systemd: s} }

// A line is one connection.
type line struct {
	p    *Played
	conn net.Conn
	out  chan *dbus.Message
	gone chan struct{} // closed with it
	once sync.Once
}

// Dial makes a connection, which ends with ctx.
func (p *Played) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	l := &line{p: p, conn: ours, out: make(chan *dbus.Message, 64), gone: make(chan struct{})}
	p.mu.Lock()
	p.lines = append(p.lines, l)
	p.mu.Unlock()
	context.AfterFunc(ctx, l.end)
	go l.serve()
	return theirs, nil
}

// HangUp ends all connections, as a bus that ends.
func (p *Played) HangUp() {
	for _, l := range p.all() {
		l.end()
	}
}

func (p *Played) all() []*line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Removed tells everybody that a job has ended.
func (p *Played) Removed(job uint32, unit, result string) {
	p.tell(managerPath, manager+".JobRemoved", job, JobOf(job), unit, result)
}

// Changed tells everybody of all properties of a unit.
func (p *Played) Changed(unit string) {
	p.tell(pathOf(unit), properties+".PropertiesChanged", systemd+".Unit",
		variants(p.systemd.Properties(unit)), []string{})
}

func (p *Played) tell(path dbus.ObjectPath, name string, body ...any) {
	at := strings.LastIndexByte(name, '.')
	for _, l := range p.all() {
		l.send(&dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(name[:at]),
			dbus.FieldMember: dbus.MakeVariant(name[at+1:]),
		}})
	}
}

func variants(of map[string]any) map[string]dbus.Variant {
	all := map[string]dbus.Variant{}
	for k, v := range of {
		all[k] = dbus.MakeVariant(v)
	}
	return all
}

// JobOf is the path of a job, and pathOf that of a unit.
func JobOf(job uint32) Job { return Job(fmt.Sprint(jobPath, job)) }

func pathOf(unit string) dbus.ObjectPath {
	return managerPath + dbus.ObjectPath("/unit/_"+hex.EncodeToString([]byte(unit)))
}

// unitOf is the unit of a path.
func unitOf(path dbus.ObjectPath) string {
	name, _ := hex.DecodeString(strings.TrimPrefix(string(path), string(managerPath)+"/unit/_"))
	return string(name)
}

// end ends the connection.
func (l *line) end() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.conn.Close()
		l.p.mu.Lock()
		defer l.p.mu.Unlock()
		l.p.lines = slices.DeleteFunc(l.p.lines, func(o *line) bool { return o == l })
	})
}

// send puts a message in line. One that nobody takes is lost with the connection.
func (l *line) send(m *dbus.Message) {
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
	}
	m.Headers[dbus.FieldSender] = dbus.MakeVariant(owner)
	select {
	case l.out <- m:
	case <-l.gone:
	}
}

// owner is systemd's own name on the bus.
const owner = ":1.1"

// serve answers until the connection ends.
func (l *line) serve() {
	defer l.end()
	in := bufio.NewReader(l.conn)
	if err := l.welcome(in); err != nil {
		return
	}
	go l.write() // Ends with the connection
	for {
		m, err := dbus.DecodeMessage(in)
		if err != nil || l.p.systemd.Asked(member(m)) != nil {
			return
		}
		l.send(l.answer(m))
	}
}

func (l *line) write() {
	for {
		select {
		case m := <-l.out:
			if m.EncodeTo(l.conn, binary.LittleEndian) != nil {
				l.end()
			}
		case <-l.gone:
			return
		}
	}
}

// welcome lets a client in, whoever it is.
func (l *line) welcome(in *bufio.Reader) error {
	for {
		text, err := in.ReadString('\n')
		reply := "REJECTED EXTERNAL"
		switch words := strings.Fields(strings.TrimLeft(text, "\x00")); {
		case err != nil || len(words) == 0:
			return errors.Join(err, io.ErrUnexpectedEOF)
		case words[0] == "BEGIN":
			return nil
		case len(words) > 1, words[0] == "DATA":
			reply = "OK 1234deadbeef"
		}
		if _, err := io.WriteString(l.conn, reply+"\r\n"); err != nil {
			return err
		}
	}
}

func member(m *dbus.Message) string {
	name, _ := m.Headers[dbus.FieldMember].Value().(string)
	return name
}

// answer is the answer to a call.
func (l *line) answer(m *dbus.Message) *dbus.Message {
	body, err := l.call(m)
	a := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
	}}
	if e := (Error{}); errors.As(err, &e) {
		a.Type, a.Body = dbus.TypeError, []any{e.Text}
		a.Headers[dbus.FieldErrorName] = dbus.MakeVariant(e.Name)
	}
	return a
}

// call does what a call wants.
func (l *line) call(m *dbus.Message) ([]any, error) {
	path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	switch name := member(m); name {
	case "Hello":
		return []any{":1.42"}, nil
	case "GetNameOwner":
		return []any{owner}, nil
	case "AddMatch", "RemoveMatch", "Subscribe":
		return nil, nil
	case "LoadUnit":
		return []any{pathOf(m.Body[0].(string))}, nil
	case "GetAll":
		return []any{variants(l.p.systemd.Properties(unitOf(path)))}, nil
	case "Get":
		return l.get(path, m.Body[1].(string))
	case "RestartUnit", "TryRestartUnit", "ReloadUnit", "ReloadOrRestartUnit", "StartUnit", "StopUnit":
		job, err := l.p.systemd.Queue(name, m.Body[0].(string))
		return []any{JobOf(job)}, err
	}
	return nil, Error{"org.freedesktop.DBus.Error.UnknownMethod", "it is not played: " + member(m)}
}

// get is one property, of a job or of a unit.
func (l *line) get(path dbus.ObjectPath, name string) ([]any, error) {
	if job, is := strings.CutPrefix(string(path), string(jobPath)); is {
		var id uint32
		if _, err := fmt.Sscan(job, &id); err != nil || !l.p.systemd.Has(id) {
			return nil, Error{"org.freedesktop.DBus.Error.UnknownObject", "Unknown object"}
		}
		return []any{dbus.MakeVariant("running")}, nil
	}
	return []any{dbus.MakeVariant(l.p.systemd.Properties(unitOf(path))[name])}, nil
}
