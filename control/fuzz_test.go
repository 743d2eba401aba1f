package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"netwatch"
	"netwatch/history"
)

// A fakeCaller is the other end of a request: a deliberate fake of net/http's own,
// which takes deadlines and says how it was answered.
type fakeCaller struct{ *httptest.ResponseRecorder }

func (fakeCaller) SetReadDeadline(time.Time) error  { return nil }
func (fakeCaller) SetWriteDeadline(time.Time) error { return nil }

// FuzzRequest feeds the socket's handlers whatever can be sent to them, as root
// and as somebody: nothing panics or hangs, a stranger fires nothing and reads no
// history, what is fired is what was asked for, and every refusal says why.
func FuzzRequest(f *testing.F) {
	post := func(body string) []byte {
		return []byte("POST /v1/fire HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body))
	}
	for _, body := range []string{
		`{"event":"x"}`, `{"event":"x","fields":{"a":"b"},"no_wait":true}`,
		`{"event":"x","dry_run":true}`, `{"event":""}`, `{"event":7}`, `{"evil":"x"}`, `{`, ``, `null`, `[]`,
	} {
		f.Add(post(body), true)
		f.Add(post(body), false)
	}
	f.Add([]byte("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"), false)
	f.Add([]byte("POST /v1/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), false)
	f.Add([]byte("POST /v1/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), true)
	f.Add([]byte("POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), false)
	f.Add([]byte("POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), true)
	f.Add([]byte("GET /v1/history?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n"), true)
	f.Add([]byte("GET /v1/history HTTP/1.1\r\nHost: x\r\n\r\n"), false)
	f.Add([]byte("GET /../v1/history HTTP/1.0\r\n\r\n"), false)
	f.Add([]byte("POST /v1/dismiss HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"rule\":\"r\"}"), false)
	f.Add([]byte("POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{"), true)
	f.Add([]byte("GET /v1/history?since=x&from=1-2&addresses=1 HTTP/1.1\r\nHost: x\r\n\r\n"), true)
	past := history.Open(f.TempDir(), func(netwatch.Entry) {})
	f.Cleanup(past.Close)
	f.Fuzz(func(t *testing.T, packet []byte, root bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(packet)))
		if err != nil || r.RequestURI == "*" {
			return // net/http answers by itself
		}
		d := &witness{history: past}
		who := peer{UID: 4242424242}
		if root {
			who.UID = 0
		}
		ctx, hungUp := context.WithCancel(context.WithValue(t.Context(), peerKey{}, who))
		hungUp()
		w := fakeCaller{httptest.NewRecorder()}
		NewServer(d).Handler.ServeHTTP(w, r.WithContext(ctx))
		d.check(t, r, root, w.Result())
	})
}

// chunk is a body of unknown length.
func chunk(body string) string {
	if body == "" {
		return "0\r\n\r\n"
	}
	return string("0123456789abcdef"[len(body)/16]) + string("0123456789abcdef"[len(body)%16]) + "\r\n" +
		body + "\r\n0\r\n\r\n"
}

// A witness is a daemon that notes what is fired; a deliberate fake.
type witness struct {
	fired     []Request
	dismissed bool
	probed    bool
	verified  bool
	history   *history.Log
}

func (d *witness) MayFire(uint32, string) bool { return false }
func (d *witness) Dismiss(string) error        { d.dismissed = true; return nil }

func (d *witness) Fire(_ context.Context, r Request, watch func(netwatch.Entry)) (Accepted, error) {
	d.fired = append(d.fired, r)
	if r.Event == "unknown" {
		return Accepted{}, ErrUnknownEvent
	}
	watch(netwatch.Entry{Kind: netwatch.EntryRun, Outcome: netwatch.Changed})
	return Accepted{ID: "id", Event: r.Event, Rules: []Plan{{Name: "r"}}}, nil
}

func (d *witness) Probe(context.Context) Probed {
	d.probed = true
	return Probed{}
}
func (d *witness) Verify(context.Context, func(Verified)) { d.verified = true }

func (d *witness) Status() Status        { return Status{PID: 42} }
func (d *witness) History() *history.Log { return d.history }
func (d *witness) Metrics() *Metrics     { return NewMetrics() }

// check looks at what was fired and answered.
func (d *witness) check(t *testing.T, r *http.Request, root bool, answer *http.Response) {
	t.Helper()
	defer answer.Body.Close()
	for _, req := range d.fired {
		if req.Event == "" || !root && !req.DryRun || r.Method != http.MethodPost || r.URL.Path != "/v1/fire" {
			t.Errorf("%s %s of root=%t fired %+v", r.Method, r.URL, root, req)
		}
	}
	if !root && r.URL.Path == "/v1/history" && answer.StatusCode == http.StatusOK {
		t.Error("a stranger read the history")
	}
	if d.dismissed && (!root || r.URL.Path != "/v1/dismiss") {
		t.Errorf("%s %s of root=%t dismissed a failure", r.Method, r.URL, root)
	}
	if d.probed && (!root || r.URL.Path != "/v1/probe") {
		t.Errorf("%s %s of root=%t had the other machines asked", r.Method, r.URL, root)
	}
	if d.verified && (!root || r.URL.Path != "/v1/verify") {
		t.Errorf("%s %s of root=%t had the other machines look", r.Method, r.URL, root)
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusInternalServerError, http.StatusTooManyRequests:
		var p problem
		if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || p.Error == "" {
			t.Errorf("%s says nothing: %+v, %v", answer.Status, p, err)
		}
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		t.Errorf("the request is answered with %s", answer.Status)
	}
}
