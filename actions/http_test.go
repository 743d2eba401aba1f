package actions

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// A fakeReceiver is no chat and no monitor: it remembers requests and answers
// each with the next of its codes, and with the last again and again.
type fakeReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	codes []int
	came  []string
}

func startReceiver(t *testing.T, codes ...int) *fakeReceiver {
	t.Helper()
	f := &fakeReceiver{codes: codes}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP remembers a request as its line, some headers and the body.
func (f *fakeReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	came := []string{r.Method + " " + r.URL.RequestURI()}
	for _, name := range []string{"Authorization", "Content-Type", "Title"} {
		if v := r.Header.Get(name); v != "" {
			came = append(came, name+": "+v)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = append(f.came, strings.Join(append(came, string(body)), " | "))
	code := f.codes[0]
	if len(f.codes) > 1 {
		f.codes = f.codes[1:]
	}
	w.Header().Set("Location", "/elsewhere?"+httpToken)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, httpToken)
}

func (f *fakeReceiver) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.came)
}

// httpToken is what no result may have in it.
const httpToken = "t0ken"

// endedJob is a notice's, with values that are to be escaped.
var endedJob = netwatch.Job{
	Event: netwatch.Event{
		Name: "ip-changed", ID: "abc", Source: "stun",
		Fields: map[string]string{"old": "a\"b\nc", "new": "ä /?&+%"},
	},
	Confirmed: netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7")}},
	Ended:     netwatch.Entry{Rule: "r", Outcome: netwatch.Failed, Step: "restart x", Error: `it said "no" \`},
}

// notify makes the step of a line's words and does it, with tries in a row.
func notify(t *testing.T, words ...string) netwatch.Result {
	t.Helper()
	s, err := newHTTP(Env{}, "http", words)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Action.(*httpAction)
	a.pauses = []time.Duration{0, 0}
	r := a.Do(t.Context(), endedJob)
	text := fmt.Sprint(r.Detail, r.Err, netwatch.Hint(r.Err))
	if strings.Contains(text, httpToken) || strings.Contains(text, "://127") {
		t.Errorf("it tells what may be secret: %s", text)
	}
	return r
}

// secretFile is a file that only its owner may read.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestHTTPSends(t *testing.T) {
	f := startReceiver(t, 200)
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"GET", f.URL + "/ping"}, "GET /ping | "},
		{
			[]string{"GET", f.URL + "/{new}/x?a={new}&b={ipv4}{ipv6}"},
			"GET /%C3%A4%20%2F%3F%26%2B%25/x?a=%C3%A4%20%2F%3F%26%2B%25&b=203.0.113.7 | ",
		},
		{
			[]string{"POST", f.URL + "/", "header=Title: {event}", "body={rule} {outcome}: {step}: {error}, {old}"},
			"POST / | Content-Type: text/plain; charset=utf-8 | Title: ip-changed | r failed: restart x: " +
				"it said \"no\" \\, a\"b\nc",
		},
		{
			[]string{"PUT", f.URL + "/", `body={"text": "{error} {old}", "list": [1]}`},
			`PUT / | Content-Type: application/json | {"text": "it said \"no\" \\ a\"b\nc", "list": [1]}`,
		},
		{
			[]string{"POST", f.URL + "/", `body=[{event}] {source} {id}`},
			`POST / | Content-Type: text/plain; charset=utf-8 | [ip-changed] stun abc`,
		},
		{
			[]string{"POST", f.URL + "/", "header=Content-Type: application/x-www-form-urlencoded", "body=a={new}&b=1"},
			"POST / | Content-Type: application/x-www-form-urlencoded | a=%C3%A4%20%2F%3F%26%2B%25&b=1",
		},
		{
			[]string{"POST", f.URL + "/", "header=content-type: application/vnd.x+json", `body="{old}"`},
			`POST / | Content-Type: application/vnd.x+json | "a\"b\nc"`,
		},
		{
			[]string{"POST", f.URL + "/", "header=Title:{old}", "header=Authorization: Bearer x", "body="},
			"POST / | Authorization: Bearer x | Content-Type: text/plain; charset=utf-8 | Title: a\"b c | ",
		},
		{
			[]string{"POST", "@" + secretFile(t, f.URL+"/"+httpToken+"/{event}\n"), "header=@" +
				secretFile(t, "Authorization: "+httpToken+"\n"), "body=@" + secretFile(t, "{id} "+httpToken+"\n\n")},
			"POST /" + httpToken + "/ip-changed | Authorization: " + httpToken +
				" | Content-Type: text/plain; charset=utf-8 | abc " + httpToken,
		},
	} {
		r := notify(t, c.words...)
		if r.Outcome != netwatch.Changed || r.Detail != "127.0.0.1 answered 200 OK" {
			t.Errorf("%q: %+v", c.words, r)
		}
		got := f.got()
		if diff := cmp.Diff(c.want, got[len(got)-1]); diff != "" {
			t.Errorf("%q: %s", c.words, diff)
		}
	}
}

// A notice may have every field of netwatch's events, known or not; and those of a
// user's own event where the rule is for one.
func TestHTTPFields(t *testing.T) {
	f := startReceiver(t, 200)
	words := []string{"POST", f.URL + "/", "body={old}|"}
	for _, field := range netwatch.FieldNames() {
		words[2] += "{" + field + "}"
	}
	words[2] += "|{colour}|{id}"
	_, err := newHTTP(Env{}, "http", words)
	if err == nil || !strings.Contains(err.Error(), "{colour} stands for nothing") {
		t.Errorf("no event has a colour: %v", err)
	}
	s, err := newHTTP(Env{AnyField: true}, "http", words)
	if err != nil {
		t.Fatal(err)
	}
	ev := netwatch.Event{Name: "x", ID: "abc", Fields: map[string]string{"old": "o", "colour": "red", "id": "forged"}}
	if r := s.Do(t.Context(), netwatch.Job{Event: ev}); r.Outcome != netwatch.Changed ||
		!strings.HasSuffix(f.got()[0], " | o|o|red|abc") {
		t.Errorf("%+v: %q", r, f.got())
	}
}

// What another try may help is tried again, and nothing else.
func TestHTTPTries(t *testing.T) {
	for _, c := range []struct {
		codes   []int
		outcome netwatch.Outcome
		tries   int
		words   []string
	}{
		{[]int{500, 429, 204}, netwatch.Changed, 3, []string{"127.0.0.1 answered 204"}},
		{[]int{503}, netwatch.Failed, 3, []string{"sending a notice: 127.0.0.1 answered 503 Service Unavailable"}},
		{[]int{404}, netwatch.Failed, 1, []string{"127.0.0.1 answered 404 Not Found", "see the URL"}},
		{[]int{401}, netwatch.Failed, 1, []string{"401"}},
		{[]int{308, 200}, netwatch.Failed, 1, []string{"127.0.0.1 answered 308", "redirects are not followed"}},
	} {
		f := startReceiver(t, c.codes...)
		r := notify(t, "POST", f.URL+"/"+httpToken+"?"+httpToken)
		if r.Outcome != c.outcome || len(f.got()) != c.tries {
			t.Errorf("%+v after %d tries with %v", r, len(f.got()), c.codes)
		}
		for _, word := range c.words {
			if text := fmt.Sprint(r.Detail, r.Err, netwatch.Hint(r.Err)); !strings.Contains(text, word) {
				t.Errorf("%q is not in %q", word, text)
			}
		}
	}
}

// Who is not who he says he is, is told nothing; nor who is not there.
func TestHTTPReachesNobody(t *testing.T) {
	f := &fakeReceiver{codes: []int{200}}
	tls := httptest.NewUnstartedServer(f)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // That we hang up is what it is for
	tls.StartTLS()
	defer tls.Close()
	wantFailure(t, notify(t, "GET", tls.URL+"/"+httpToken), "asking 127.0.0.1: tls: failed to verify certificate")
	if len(f.got()) > 0 {
		t.Error("it was told")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	wantFailure(t, notify(t, "GET", "http://"+l.Addr().String()+"/"+httpToken), "connection refused")
}

func wantFailure(t *testing.T, r netwatch.Result, word string) {
	t.Helper()
	if r.Outcome != netwatch.Failed || !strings.Contains(r.Err.Error(), word) {
		t.Errorf("%+v, want %q", r, word)
	}
}

// A server that does not answer is not waited for after the context's end.
func TestHTTPEnds(t *testing.T) {
	hung := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	defer s.Close()
	defer close(hung)
	step, err := newHTTP(Env{}, "http", []string{"GET", s.URL + "/" + httpToken})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := step.Do(ctx, endedJob)
	wantFailure(t, r, "asking 127.0.0.1: context deadline exceeded")
	if strings.Contains(r.Err.Error(), httpToken) {
		t.Errorf("%v", r.Err)
	}
	a := step.Action.(*httpAction)
	a.client.Timeout, a.pauses = 20*time.Millisecond, nil
	wantFailure(t, a.Do(t.Context(), endedJob), "no answer within 10s")
}

// The files are looked at when the notice is sent, and errors tell nothing of
// what is in them.
func TestHTTPFiles(t *testing.T) {
	f := startReceiver(t, 200)
	open := secretFile(t, httpToken)
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]string{
		"body=@/nonexistent":   "reading /nonexistent: no such file",
		"body=@" + open:        "every user may read",
		"body=@" + t.TempDir(): "not a regular file",
		"body=@" + secretFile(t, httpToken+"{nonesuch}"): "{nonesuch} stands for nothing; there are " +
			netwatch.FieldNames()[0] + ", ",
		"header=@" + secretFile(t, httpToken):                   "a header is none",
		"header=@" + secretFile(t, "X: "+httpToken+"\nY: z"):    "a header is none",
		"body=@" + secretFile(t, strings.Repeat("x", 64<<10+1)): "larger than 64 KiB",
	} {
		wantFailure(t, notify(t, "POST", f.URL+"/", word), want)
	}
	for _, text := range []string{httpToken, "ftp://x/" + httpToken, "https://{new}/" + httpToken, "https://x y/" +
		httpToken, "https://[::x/" + httpToken, ""} {
		wantFailure(t, notify(t, "POST", "@"+secretFile(t, text)), "the URL is none")
	}
	if n := len(f.got()); n > 0 {
		t.Errorf("%d were sent", n)
	}
}

func TestNewHTTP(t *testing.T) {
	for line, want := range map[string]netwatch.Step{
		"http GET https://example.org/":        {Notice: true, Gated: true},
		"http GET https://example.org/ always": {Notice: true},
	} {
		s := step(t, Env{}, line)
		client := s.Action.(*httpAction).client
		if client.Timeout != httpTime || client.Transport.(*http.Transport).Proxy == nil {
			t.Errorf("its client is %+v", client)
		}
		if s.Notice != want.Notice || s.Gated != want.Gated || s.Gate {
			t.Errorf("%s: %+v", line, s)
		}
	}
}
