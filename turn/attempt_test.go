package turn

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"netwatch/servers"
	"netwatch/turn/turntest"
)

// A script is a socket by which a server answers what it likes, each time with the
// transaction that was asked for.
type script struct {
	net.Conn
	answers [][]byte
	asked   [][]byte
	last    []byte
}

func (s *script) Write(request []byte) (int, error) {
	s.asked = append(s.asked, slices.Clone(request))
	return len(request), nil
}

func (s *script) Read(to []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, io.EOF
	}
	s.last = s.answers[0]
	n := copy(to, s.last)
	s.answers = s.answers[1:]
	if asked := s.asked[len(s.asked)-1]; n >= 20 {
		copy(to[8:20], asked[8:20])
	}
	return n, nil
}

func (s *script) SetReadDeadline(time.Time) error { return nil }
func (s *script) Close() error                    { return nil }

// attempting is an attempt by a socket where what is in answers comes, each behind a byte that
// says how long it is.
func attempting(answers []byte, a netip.Addr) (*attempt, *script) {
	s := &script{}
	for len(answers) > 0 {
		n := min(int(answers[0]), len(answers)-1)
		s.answers = append(s.answers, answers[1:1+n])
		answers = answers[1+n:]
	}
	o := Outside{Address: a, As: servers.Credential{Name: "x", Password: "y"}}
	line := &reusable{Conn: s}
	return &attempt{Outside: o, line: line, r: &relay{conn: line}}, s
}

// coming is what comes as an answer to an attempt.
func coming(messages ...[]stun.Setter) (all []byte) {
	for _, setters := range messages {
		raw := stun.MustBuild(append([]stun.Setter{stun.TransactionID}, setters...)...).Raw
		all = append(append(all, byte(len(raw))), raw...)
	}
	return all
}

// answering are the answers of a server that does all right: to two requests, and data.
func answering(at netip.AddrPort, text string) []byte {
	request := &stun.Message{Type: allocateRequest}
	return coming(turntest.Refusal(request, stun.CodeUnauthorized, "n1"), lent(request, at),
		[]stun.Setter{dataIndication, stun.RawAttribute{Type: stun.AttrData, Value: []byte(text)}})
}

// Callers over IPv4 name no family, and over IPv6 it is named, as nobody else is lent one.
func TestFromOutsideNamesFamily(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "::1"} {
		at := netip.AddrPortFrom(netip.MustParseAddr(text), 5000)
		v, s := attempting(answering(at, "text"), at.Addr())
		err := v.allocate(t.Context())
		if good := err == nil && v.relayed == at && v.mapped.IsValid(); len(s.asked) != 2 || good != at.Addr().Is4() {
			t.Errorf("%s: %v, asked %d times", at, err, len(s.asked)) // IPv6 is written by the transaction, which is another
		}
		for _, raw := range s.asked {
			m := &stun.Message{Raw: raw}
			if err := m.Decode(); err != nil {
				t.Fatal(err)
			}
			named, err := m.Get(stun.AttrRequestedAddressFamily)
			if six := at.Addr().Is6(); six != (err == nil) || six && named[0] != 2 {
				t.Errorf("%s: names %v, %v", at, named, err)
			}
		}
		if err := v.hear(t.Context(), "text"); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a server answers, only what is at the address that was asked is taken for lent,
// and only the text itself for data.
func FuzzFromOutside(f *testing.F) {
	here := netip.MustParseAddr("127.0.0.1")
	f.Add(answering(netip.AddrPortFrom(here, 5000), "text"))
	f.Add(answering(netip.MustParseAddrPort("127.0.0.2:5000"), "text"))
	f.Add(answering(netip.AddrPortFrom(here, 5000), "text and more"))
	f.Add(answering(netip.MustParseAddrPort("[::1]:5000"), ""))
	f.Fuzz(func(t *testing.T, answers []byte) {
		v, s := attempting(answers, here)
		if err := v.allocate(t.Context()); err == nil && v.relayed.Addr() != here {
			t.Errorf("%s is lent", v.relayed)
		}
		if len(s.asked) > 2*staleNonces+1 {
			t.Errorf("asked %d times", len(s.asked))
		}
		err := v.hear(t.Context(), "text")
		data, has := bytes.HasPrefix(s.last, []byte{0, 0x17}), bytes.Contains(s.last, []byte("\x00\x13\x00\x04text"))
		if err == nil && (!data || !has) {
			t.Errorf("%x is heard", s.last)
		}
	})
}

// Whose time is out only when a line is used again, as on a busy machine, does not end it:
// who asks would be told at once, again and again, that nothing came, and send all that may be
// sent.
func TestReusableIsUsedAgain(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	line := &reusable{Conn: here}
	_ = line.Close()
	anew := line.reopen()
	_ = anew.SetReadDeadline(time.Now().Add(10 * time.Second))
	_ = line.Close()
	go func() { _, _ = there.Write([]byte("x")) }()
	if _, err := anew.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	_ = anew.Close()
	if _, err := anew.Read(make([]byte, 1)); err == nil {
		t.Error("a line that is ended is read from")
	}
}
