package stunmsg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	id    = [stun.TransactionIDSize]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	first = netip.MustParseAddr("203.0.113.5")
)

// read is the XOR-MAPPED-ADDRESS of a packet that is the success response to a
// binding request with this id.
func read(packet []byte, id [stun.TransactionIDSize]byte) (netip.Addr, error) {
	m, err := Answer(packet, &stun.Message{Type: stun.BindingRequest, TransactionID: id})
	if err != nil {
		return netip.Addr{}, err
	}
	if m.Type.Class != stun.ClassSuccessResponse {
		return netip.Addr{}, errors.New("refused")
	}
	return Address(m, stun.AttrXORMappedAddress)
}

// message is a packet with our id.
func message(kind stun.MessageType, parts ...stun.Setter) []byte {
	return stun.MustBuild(append([]stun.Setter{stun.NewTransactionIDSetter(id), kind}, parts...)...).Raw
}

// says is an answer that says these bytes, right or wrong.
func says(value []byte) []byte {
	return message(stun.BindingSuccess, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Value: value})
}

// right is an answer as it should be.
func right() []byte {
	return message(stun.BindingSuccess, &stun.XORMappedAddress{IP: first.AsSlice(), Port: 4242}, stun.Fingerprint)
}

// The vectors of RFC 5769, 2.2 and 2.3, without their integrity and fingerprint.
func TestDecodeVectors(t *testing.T) {
	id := [12]byte{0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae}
	head := append([]byte{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, id[:]...)
	cases := map[string]struct {
		attribute []byte
		want      string
	}{
		"ipv4": {[]byte{0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43}, "192.0.2.1"},
		"ipv6": {[]byte{
			0, 0x20, 0, 20, 0, 2, 0xa1, 0x47,
			1, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
		}, "2001:db8:1234:5678:11:2233:4455:6677"},
	}
	for family, c := range cases {
		packet := slices.Concat(head, c.attribute)
		packet[3] = byte(len(c.attribute))
		if a, err := read(packet, id); err != nil || a.String() != c.want {
			t.Errorf("%s: %s, %v", family, a, err)
		}
		for _, bit := range []byte{0x80, 0x40} { // Not STUN: the two highest bits are zero (RFC 8489, 5)
			packet[0] |= bit
			if a, err := read(packet, id); err == nil {
				t.Errorf("%s with bit %#x: %s", family, bit, a)
			}
			packet[0] &^= bit
		}
	}
}

// What has not the length of its family is no address, in whichever attribute it is.
func TestAddressLength(t *testing.T) {
	for _, attribute := range []stun.AttrType{stun.AttrXORMappedAddress, stun.AttrXORRelayedAddress} {
		for n := range 32 {
			for family := range byte(4) {
				value := make([]byte, n)
				if n > 1 {
					value[1] = family
				}
				m := &stun.Message{Raw: message(stun.BindingSuccess, stun.RawAttribute{Type: attribute, Value: value})}
				if err := m.Decode(); err != nil {
					t.Fatal(err)
				}
				a, err := Address(m, attribute)
				if good := n == 8 && family == 1 || n == 20 && family == 2; good != (err == nil) || good && a.BitLen() != 8*(n-4) {
					t.Errorf("%s of %d bytes and family %d: %s, %v", attribute, n, family, a, err)
				}
			}
		}
	}
}

// asking asks over a pipe, whose other end says what answers says, once for each
// request.
func asking(t *testing.T, q Question, answers func(request []byte) [][]byte) (*stun.Message, error) {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() { // Until far is closed
		for packet := make([]byte, MaxPacket); ; {
			n, err := far.Read(packet)
			if err != nil {
				return
			}
			for _, answer := range answers(slices.Clone(packet[:n])) {
				_, _ = far.Write(answer)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	q.Conn, q.Request = near, &stun.Message{Raw: message(stun.BindingRequest)}
	if err := q.Request.Decode(); err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	return q.Ask(ctx)
}

// What is no answer is passed over, the right one after it heard, and without one
// it is said what was passed over.
func TestAskPassesOver(t *testing.T) { synctest.Test(t, passesOver) }

func passesOver(t *testing.T) {
	none := errors.New("not this one")
	allocated := stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse)
	q := Question{Check: func(m *stun.Message) error {
		if _, err := Address(m, stun.AttrXORMappedAddress); err != nil {
			return none
		}
		return nil
	}}
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"noise":               {[]byte("hello"), "no STUN message"},
		"our own request":     {message(stun.BindingRequest), "is a Binding request"},
		"another method":      {message(allocated), "is a Allocate success response"},
		"another transaction": {stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw, "another transaction id"},
		"what Check refuses":  {says(nil), none.Error()},
	} {
		_, err := asking(t, q, func([]byte) [][]byte { return [][]byte{c.packet} })
		said := fmt.Sprint(err)
		if !strings.HasPrefix(said, "no right answer in time; passed over: ") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		m, err := asking(t, q, func([]byte) [][]byte { return [][]byte{c.packet, right()} })
		if err != nil {
			t.Errorf("the right one after %s: %v", name, err)
		} else if a, err := Address(m, stun.AttrXORMappedAddress); a != first || err != nil {
			t.Errorf("the right one after %s: %s, %v", name, a, err)
		}
	}
	m, err := asking(t, q, func([]byte) [][]byte { return [][]byte{message(stun.BindingError)} })
	if err != nil || m.Type != stun.BindingError {
		t.Errorf("an error response: %v, %v", m, err)
	}
	if _, err := asking(t, q, func([]byte) [][]byte { return nil }); err == nil || err.Error() != "no answer in time" {
		t.Errorf("silence: %v", err)
	}
}

// Who gives up ends the wait at once, and that is what is said.
func TestAskGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		why := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			_, _ = far.Read(make([]byte, MaxPacket))
			cancel(why)
		}()
		q := Question{Conn: near, Request: &stun.Message{Raw: message(stun.BindingRequest)}}
		begun := time.Now()
		if _, err := q.Ask(ctx); !errors.Is(err, why) || time.Since(begun) > 0 {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

// Nothing that comes in makes it crash, and only an exact success response is
// believed.
func FuzzAnswer(f *testing.F) {
	address := &stun.XORMappedAddress{IP: first.AsSlice(), Port: 4242}
	for _, packet := range [][]byte{
		right(), message(stun.BindingError, stun.CodeServerError), message(stun.BindingError, address),
		stun.MustBuild(stun.TransactionID, stun.BindingSuccess, address).Raw,
		says([]byte{0, 1, 0, 0, 9}), says([]byte{0, 2, 0, 0, 9, 9, 9, 9}),
	} {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, err := read(slices.Clip(slices.Clone(packet)), id)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: packet}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		value, err := m.Get(stun.AttrXORMappedAddress)
		number := map[int]byte{32: 1, 128: 2}[a.BitLen()]
		if err != nil || len(value) != 4+a.BitLen()/8 || value[1] != number {
			t.Errorf("%x is believed to say %s", value, a)
		}
		if string(packet[8:20]) != string(id[:]) || packet[0] != 1 || packet[1] != 1 {
			t.Errorf("%x is believed to say %s", packet, a)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	packet := right()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(packet, id); err != nil {
			b.Fatal(err)
		}
	}
}
