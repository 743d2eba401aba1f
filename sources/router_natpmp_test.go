package sources

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// answer is an answer of NAT-PMP, at 7 s of the router's.
func answer(result uint16, a string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, 128}, result)
	return append(binary.BigEndian.AppendUint32(b, 7), netip.MustParseAddr(a).AsSlice()...)
}

func TestReadAnnouncement(t *testing.T) {
	pcp := make([]byte, pcpHeader)
	pcp[0], pcp[1], pcp[11] = 2, 0x80, 9
	refused := bytes.Clone(pcp)
	refused[3] = 3
	for name, c := range map[string]struct {
		b    []byte
		want saying
		err  error
	}{
		"an address":          {answer(0, "198.51.100.7"), saying{address: second, epoch: 7}, nil},
		"none":                {answer(0, "0.0.0.0"), saying{epoch: 7}, nil},
		"no network":          {answer(3, "0.0.0.0"), saying{epoch: 7}, nil},
		"refused":             {answer(2, "0.0.0.0"), saying{}, errUnwilling},
		"no such result":      {answer(6, "198.51.100.7"), saying{}, errNoWord},
		"PCP ANNOUNCE":        {pcp, saying{bare: true, epoch: 9}, nil},
		"PCP with an error":   {refused, saying{}, errNoWord},
		"a byte too many":     {append(answer(0, "198.51.100.7"), 0), saying{}, errNoWord},
		"a byte too few":      {answer(0, "198.51.100.7")[:11], saying{}, errNoWord},
		"our own question":    {externalAddress, saying{}, errNoWord},
		"nothing":             {nil, saying{}, errNoWord},
		"another version":     {append([]byte{1}, answer(0, "198.51.100.7")[1:]...), saying{}, errNoWord},
		"another question":    {append([]byte{0, 129}, answer(0, "198.51.100.7")[2:]...), saying{}, errNoWord},
		"PCP of another kind": {append([]byte{2, 0x81}, pcp[2:]...), saying{}, errNoWord},
	} {
		if w, err := readAnnouncement(c.b); w != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

// FuzzReadAnnouncement holds that only packets of the two lengths say anything, and that
// what they say is in them.
func FuzzReadAnnouncement(f *testing.F) {
	f.Add(answer(0, "198.51.100.7"))
	f.Add(append([]byte{2, 0x80}, make([]byte, 22)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := readAnnouncement(b)
		switch {
		case err != nil && w != saying{}:
			t.Errorf("%x: %+v and %v", b, w, err)
		case err == nil && w.bare != (len(b) == pcpHeader), err == nil && !w.bare && len(b) != natpmpAnswer:
			t.Errorf("%x: %+v", b, w)
		case w.address.IsValid() && !bytes.Equal(w.address.AsSlice(), b[8:12]):
			t.Errorf("%x: %s", b, w.address)
		}
	})
}
