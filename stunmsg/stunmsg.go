// Package stunmsg asks a question in STUN (RFC 8489) over UDP, TCP or TLS and waits
// for its answer. Whoever can send us packets must neither be believed nor be able to end
// the wait: what is no answer to the question is passed over, and lengths are
// looked at before the codec reads.
package stunmsg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pion/stun/v2"
)

// RTO is how long to wait for an answer before the request is sent again; the next
// waits are twice as long each (RFC 8489, 6.2.1).
const RTO = 500 * time.Millisecond

// MaxPacket is the size in bytes that no answer to our requests exceeds.
const MaxPacket = 1500

// A Question is a request and how its answer is waited for.
type Question struct {
	// Conn gets packets from nobody but who is asked.
	Conn net.Conn
	// Request has a transaction id.
	Request *stun.Message
	// Check says why a success response is to be passed over. If it is nil, none is.
	Check func(answer *stun.Message) error
	// Pause is how long to wait before asking again when nobody listened at the port.
	// If it is zero, that ends the question.
	Pause time.Duration
	// Stream says that Conn is one: what is sent there arrives, and is sent once.
	Stream bool

	refused error // that nobody listened, the last time
	passed  error // why the last packet was passed over
}

// Ask sends the request, again after each RTO, and returns the first right answer: a
// success or an error response. When ctx is done it closes Conn.
func (q *Question) Ask(ctx context.Context) (*stun.Message, error) {
	defer context.AfterFunc(ctx, func() { _ = q.Conn.Close() })()
	for rto := RTO; ; {
		answer, err := q.send(rto)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, q.silence(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			rto, q.refused = 2*rto, nil
		case q.Pause == 0:
			return nil, err
		default:
			q.refused = err
			select {
			case <-time.After(q.Pause):
			case <-ctx.Done():
			}
		}
	}
}

// send sends the request and reads until its answer is there or wait is over.
func (q *Question) send(wait time.Duration) (*stun.Message, error) {
	if !q.Stream {
		if err := q.Conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, fmt.Errorf("setting a deadline: %w", err)
		}
	}
	if _, err := q.Conn.Write(q.Request.Raw); err != nil {
		return nil, Bare(err)
	}
	packet := make([]byte, MaxPacket)
	for {
		n, err := Read(q.Conn, q.Stream, packet)
		if err != nil {
			return nil, Bare(err)
		}
		answer, err := Answer(packet[:n], q.Request)
		if err == nil && q.Check != nil && answer.Type.Class == stun.ClassSuccessResponse {
			err = q.Check(answer)
		}
		if err == nil {
			return answer, nil
		}
		q.passed = err
	}
}

// headerSize is how long the header of a message is, and lengthAt where in it the
// length of what follows stands (RFC 8489, 5).
const (
	headerSize = 20
	lengthAt   = 2
)

// Read reads a packet, or from a stream a message: that says itself how long it is.
func Read(conn net.Conn, stream bool, packet []byte) (int, error) {
	if !stream {
		return conn.Read(packet)
	}
	if _, err := io.ReadFull(conn, packet[:headerSize]); err != nil {
		return 0, err
	}
	whole := headerSize + int(binary.BigEndian.Uint16(packet[lengthAt:]))
	if whole > len(packet) {
		return 0, fmt.Errorf("a message has %d bytes", whole)
	}
	_, err := io.ReadFull(conn, packet[headerSize:whole])
	return whole, err
}

// silence says that there was no right answer in time.
func (q *Question) silence(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case !errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("waiting for an answer: %w", cause)
	case q.refused != nil:
		return q.refused
	case q.passed != nil:
		return fmt.Errorf("no right answer in time; passed over: %w", q.passed)
	}
	return errors.New("no answer in time")
}

// Bare takes out of a network error what Go adds: addresses and ports. With another
// port each time, the same trouble would look new.
func Bare(err error) error {
	if op := new(net.OpError); errors.As(err, &op) {
		err = op.Err
	}
	if call := new(os.SyscallError); errors.As(err, &call) {
		return call.Err
	}
	return err
}

// Answer reads a packet if it is a success or an error response to the request;
// otherwise the error says why it is none.
func Answer(packet []byte, request *stun.Message) (*stun.Message, error) {
	m := &stun.Message{Raw: packet}
	if err := m.Decode(); err != nil {
		return nil, fmt.Errorf("a packet is no STUN message: %w", err)
	}
	if m.TransactionID != request.TransactionID {
		return nil, errors.New("a message has another transaction id")
	}
	method := request.Type.Method
	switch binary.BigEndian.Uint16(packet) { // The codec overlooks its two highest bits
	case stun.NewType(method, stun.ClassSuccessResponse).Value(), stun.NewType(method, stun.ClassErrorResponse).Value():
		return m, nil
	}
	return nil, fmt.Errorf("a message is a %s", m.Type)
}

// The parts of XOR-MAPPED-ADDRESS (RFC 8489, 14.2), and of its likes: a zero byte,
// the family, the port and the address.
const (
	familyIPv4 = 1
	familyIPv6 = 2
	lengthIPv4 = 4 + 4
	lengthIPv6 = 4 + 16
)

// Address is that of AddrPort, where its port does not matter.
func Address(m *stun.Message, attribute stun.AttrType) (netip.Addr, error) {
	at, err := AddrPort(m, attribute)
	return at.Addr(), err
}

// AddrPort reads an address of an answer that is written like XOR-MAPPED-ADDRESS. It
// checks the length before the codec reads, which panics on a value that is too
// short, or takes it for a shorter address (CVE-2026-54909).
func AddrPort(m *stun.Message, attribute stun.AttrType) (netip.AddrPort, error) {
	value, err := m.Get(attribute)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("an answer has no %s", attribute)
	}
	four := len(value) == lengthIPv4 && value[1] == familyIPv4
	if six := len(value) == lengthIPv6 && value[1] == familyIPv6; !four && !six {
		return netip.AddrPort{}, fmt.Errorf("the %s of an answer has %d bytes and is no address", attribute, len(value))
	}
	var found stun.XORMappedAddress
	if err := found.GetFromAs(m, attribute); err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the %s of an answer: %w", attribute, err)
	}
	addr, ok := netip.AddrFromSlice(found.IP)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("the %s of an answer has %d bytes of address", attribute, len(found.IP))
	}
	return netip.AddrPortFrom(addr, uint16(found.Port)), nil //nolint:gosec // Two bytes, as just read
}
