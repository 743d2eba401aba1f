package machine

import (
	"io"
	"testing"
)

// holes is what a file reads as that has nothing in it; it is endless.
type holes struct{ read int }

func (h *holes) Read(p []byte) (int, error) {
	clear(p)
	if h.read += len(p); h.read > maxProgram {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

// A program that others have put there is not read without end.
func TestProgramWithoutEnd(t *testing.T) {
	endless := &holes{}
	if version := goVersion(endless); version != "" || endless.read > maxProgram {
		t.Errorf("%q after %d bytes", version, endless.read)
	}
}
