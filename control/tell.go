package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"netwatch"
)

// The ways in which a daemon that is there may keep its answer back.
var (
	errFull   = errors.New("its queue is full")
	errBroken = errors.New("it ended the connection without an answer")
	errLate   = errors.New("it has the event, and no time was left to wait for its answer")
)

// maxAnswer is the size in bytes that no true answer reaches.
const maxAnswer = 16 << 10

// Tell hands the daemon at a socket a request, and returns before the deadline
// whatever the daemon does. It returns nil once the daemon has accepted the event.
// The daemon acts on what was sent even if there was no time for its answer. If the
// daemon ends, by itself or killed, Tell sends the request once more: systemd may
// hold the socket for the next one.
//
// It is for callers who may neither wait nor take much. It starts no goroutine, which
// could need another thread: if the user is at his limit of tasks (RLIMIT_NPROC,
// getrlimit(2)), that ends the process.
func Tell(socket string, r Request, deadline time.Time) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	request := fmt.Appendf(nil,
		"POST /v1/fire HTTP/1.1\r\nHost: netwatch\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	answer, err := exchange(socket, request, deadline)
	if errors.Is(err, errBroken) || bytes.HasPrefix(answer, ending) {
		answer, err = exchange(socket, request, deadline)
	}
	if err != nil {
		return untold(socket, err)
	}
	return verdict(answer)
}

// untold says why there was no answer, with its remedy.
func untold(socket string, err error) error {
	switch {
	case errors.Is(err, errLate):
		return netwatch.WithHint(fmt.Errorf("%w: %w", ErrUnreachable, err),
			"it acts on it once it goes on; if it hangs: "+netwatch.Restarting("netwatch"))
	case errors.Is(err, errBroken), errors.Is(err, errFull):
		return overrun(err)
	}
	return NewClient(socket).unreached(context.Background(), err)
}

// How the answer begins when the event is accepted, and when the daemon ends.
var (
	accepted = []byte("HTTP/1.1 200 ")
	ending   = []byte("HTTP/1.1 503 ")
)

// verdict is what an answer says: nil when the event is accepted.
func verdict(answer []byte) error {
	if bytes.HasPrefix(answer, accepted) {
		return nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("%w: what answers there is no netwatch", ErrUnreachable),
			"see who listens there: ss -xlp")
	}
	defer resp.Body.Close()
	return refusal(resp)
}

// exchange sends a request over a connection of its own, and returns the answer, or
// as much of it as came before the deadline.
func exchange(path string, request []byte, deadline time.Time) ([]byte, error) {
	s, err := newStream()
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.connect(path, deadline); err != nil {
		return nil, err
	}
	if err := s.send(request); err != nil {
		return nil, err
	}
	answer := make([]byte, 0, maxAnswer)
	for !bytes.HasPrefix(answer, accepted) && len(answer) < maxAnswer {
		n, err := s.receive(answer[len(answer):maxAnswer], deadline)
		if err != nil && len(answer) == 0 {
			return nil, err
		} else if err != nil {
			break
		}
		answer = answer[:len(answer)+n]
	}
	return answer, nil
}
