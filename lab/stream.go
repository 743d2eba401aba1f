package lab

import (
	"encoding/binary"
	"fmt"
	"net"
)

// headerSize is how long the header of a STUN message is (RFC 8489, section 5).
const headerSize = 20

// A stream is TCP or TLS of which each Read is one STUN message, as each of a UDP
// socket is (RFC 8489, section 6.2.2). A Read that came too early loses nothing.
type stream struct {
	net.Conn
	// got is what has come of the next message.
	got []byte
}

// Read reads one message.
func (s *stream) Read(message []byte) (int, error) {
	for {
		if size := s.size(); size <= len(s.got) {
			n := copy(message, s.got[:size])
			s.got = s.got[size:]
			return n, nil
		} else if size > len(message) {
			return 0, fmt.Errorf("reading a message of %d bytes", size)
		}
		more := make([]byte, len(message))
		n, err := s.Conn.Read(more)
		s.got = append(s.got, more[:n]...)
		if err != nil && n == 0 {
			return 0, err
		}
	}
}

// size is how long the next message is, as far as that has come. The lab's callers
// bind no channels, whose messages are of another form.
func (s *stream) size() int {
	if len(s.got) < headerSize {
		return headerSize
	}
	return headerSize + int(binary.BigEndian.Uint16(s.got[2:]))
}
