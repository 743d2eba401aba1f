package main

import (
	"fmt"
	"io"
	"sync"
)

// columns is how much of a line every terminal shows.
const columns = 79

// A screen is where all is printed. What go test says itself comes there too.
type screen struct {
	mutex sync.Mutex
	out   io.Writer
	// tty says that a line can be written over.
	tty bool
}

// Write takes the line that is written over away first.
func (s *screen) Write(text []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.tty {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	return s.out.Write(text)
}

// over writes a line that the next one takes the place of; where that cannot be,
// it is a line as any other.
func (s *screen) over(line string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.tty {
		fmt.Fprintln(s.out, line)
		return
	}
	fmt.Fprintf(s.out, "\r\x1b[K%.*s", columns, line)
}
