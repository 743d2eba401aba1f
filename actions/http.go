package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// httpUsage is what follows the verb.
const httpUsage = `METHOD URL [header="NAME: VALUE"]... [body=TEXT] [always]`

// The bounds of a notice.
const (
	// httpTime is how long one try may take.
	httpTime = 10 * time.Second
	// httpAnswer is how many bytes of an answer are read, and thrown away.
	httpAnswer = 64 << 10
)

// methods are the methods of RFC 9110 and RFC 5789 that make sense for a notice.
var methods = []string{
	http.MethodGet, http.MethodHead,
	http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// A httpAction tells somebody of a run. It is the step `http METHOD URL ...`.
type httpAction struct {
	method  string
	url     part
	headers []part
	body    *part
	filler
	client *http.Client
	pauses []time.Duration
}

// newHTTP makes the step. It is a notice, which is sent when the run has ended.
// Unless `always` is given, it is skipped if nothing changed, as the job of a unit
// is.
func newHTTP(env Env, verb string, words []string) (netwatch.Step, error) {
	a := &httpAction{filler: filler(env.AnyField), client: newHTTPClient(env.Web), pauses: noticePauses}
	always, err := a.parse(words)
	if err == nil {
		_, err = a.draft().request(context.Background(), netwatch.Job{})
	}
	if errors.Is(err, errNoHTTP) {
		err = fmt.Errorf("%w: %s %s", err, verb, httpUsage)
	}
	return netwatch.Step{Action: a, Notice: true, Gated: !always}, err
}

// newHTTPClient makes a client that follows no redirect: the notice would arrive
// without its body, and its headers at some other place. way is nil on this machine.
func newHTTPClient(way http.RoundTripper) *http.Client {
	if way == nil {
		way = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
			MaxResponseHeaderBytes: httpAnswer,
		}
	}
	return &http.Client{
		Timeout: httpTime, Transport: way,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errNoHTTP says that the words after the verb make no step.
var errNoHTTP = errors.New("not understood")

// parse reads the words after the verb.
func (a *httpAction) parse(words []string) (always bool, err error) {
	if len(words) < 2 {
		return false, fmt.Errorf("%w without a method and a URL", errNoHTTP)
	}
	if a.method = words[0]; !slices.Contains(methods, a.method) {
		return false, fmt.Errorf("%q is no method: %s", a.method, strings.Join(methods, ", "))
	}
	if a.url, err = parsePart(words[1]); err != nil {
		return false, err
	}
	for _, word := range words[2:] {
		key, value, option := strings.Cut(word, "=")
		p, err := parsePart(value)
		switch {
		case option && err != nil:
			return false, err
		case option && key == "header":
			a.headers = append(a.headers, p)
		case option && key == "body" && a.body == nil:
			a.body = &p
		case word == "always" && !always:
			always = true
		case option && key == "body", word == "always":
			return false, fmt.Errorf("%q is one option too many", key)
		default:
			return false, fmt.Errorf("%q is %w after the URL", key, errNoHTTP)
		}
	}
	return always, nil
}

// Needs are the files that hold its texts.
func (a *httpAction) Needs() (n Needs) {
	parts := append([]part{a.url}, a.headers...)
	if a.body != nil {
		parts = append(parts, *a.body)
	}
	for _, p := range parts {
		if p.file != "" {
			n.Secrets = append(n.Secrets, p.file)
		}
	}
	return n
}

// draft is the notice with an example in place of each @FILE, by which newHTTP tries
// whether the rest makes a request. The files are read only when a notice is sent.
func (a *httpAction) draft() *httpAction {
	or := func(p part, text string) part {
		if p.file != "" {
			return part{text: text}
		}
		return p
	}
	d := &httpAction{method: a.method, url: or(a.url, "http://localhost/"), filler: a.filler}
	for _, p := range a.headers {
		d.headers = append(d.headers, or(p, "Accept: */*"))
	}
	if a.body != nil && a.body.file == "" {
		d.body = a.body
	}
	return d
}

// The ways to escape a value.

// inURL escapes everything that is not unreserved (RFC 3986, 2.3), so that a value
// can stand in a path and in a query.
func inURL(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

// inHeader keeps a value from ending the line of its header.
func inHeader(value string) string { return strings.Map(visible, value) }

// inJSON escapes a value for the inside of a JSON string.
func inJSON(value string) string {
	text, _ := json.Marshal(value) // A string always can be
	return string(text[1 : len(text)-1])
}

func inText(value string) string { return value }

// request makes the HTTP request of the notice. Its errors show nothing that may be
// secret.
func (a *httpAction) request(ctx context.Context, job netwatch.Job) (*http.Request, error) {
	values := placeholders(job)
	address, err := a.address(values)
	if err != nil {
		return nil, err
	}
	header, err := a.header(values)
	if err != nil {
		return nil, err
	}
	body, err := a.content(header, values)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, a.method, address, strings.NewReader(body))
	if err != nil {
		return nil, errNoURL
	}
	req.Header = header
	return req, nil
}

var (
	errNoURL    = errors.New("the URL is none, as https://HOST/PATH, with placeholders behind the host only")
	errNoHeader = errors.New(`a header is none, as "NAME: VALUE"`)
	// server is the beginning of a URL up to its path.
	server = netwatch.Pattern(`^https?://[^/?#{}\s]+([/?#]|$)`)
	// headerName is a token of RFC 9110, 5.6.2.
	headerName = netwatch.Pattern("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

func (a *httpAction) address(values map[string]string) (string, error) {
	text, err := a.url.read()
	if err != nil {
		return "", err
	}
	if !server().MatchString(text) {
		return "", errNoURL
	}
	return a.fill(text, values, inURL)
}

func (a *httpAction) header(values map[string]string) (http.Header, error) {
	header := http.Header{"User-Agent": {"netwatch"}}
	for _, p := range a.headers {
		text, err := p.read()
		if err != nil {
			return nil, err
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || !headerName().MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, errNoHeader
		}
		if value, err = a.fill(strings.TrimSpace(value), values, inHeader); err != nil {
			return nil, err
		}
		header.Set(name, value)
	}
	return header, nil
}

// content is the body, with values escaped as its Content-Type needs. If there is no
// Content-Type, it sets one: that of JSON for a JSON object, or else that of plain
// text.
func (a *httpAction) content(header http.Header, values map[string]string) (string, error) {
	if a.body == nil {
		return "", nil
	}
	text, err := a.body.read()
	if err != nil {
		return "", err
	}
	empty, err := a.fill(text, values, func(string) string { return "" })
	if err != nil {
		return "", err
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/plain; charset=utf-8")
		if strings.HasPrefix(text, "{") && json.Valid([]byte(empty)) {
			header.Set("Content-Type", "application/json")
		}
	}
	switch kind := strings.ToLower(header.Get("Content-Type")); {
	case strings.Contains(kind, "json") && !json.Valid([]byte(empty)):
		return "", errors.New("the body is no JSON; a placeholder stands inside of quotation marks there")
	case strings.Contains(kind, "json"):
		return a.fill(text, values, inJSON)
	case strings.HasPrefix(kind, "application/x-www-form-urlencoded"):
		return a.fill(text, values, inURL)
	}
	return a.fill(text, values, inText)
}

// Do sends the notice, and tries again after a pause where that may help. The result
// names the host only: the rest of a URL is often a secret.
func (a *httpAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	return deliver(ctx, a.pauses, func() (string, bool, error) { return a.send(ctx, job) })
}

// send sends the notice once. again says that another try may help.
func (a *httpAction) send(ctx context.Context, job netwatch.Job) (said string, again bool, err error) {
	req, err := a.request(ctx, job)
	if err != nil {
		return "", false, err
	}
	host := req.URL.Hostname()
	resp, err := a.client.Do(req)
	if err != nil {
		return "", true, fmt.Errorf("asking %s: %w", host, withoutURL(ctx, err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, httpAnswer)) // So that it does not fail over there
	said = fmt.Sprintf("%s answered %d %s", host, resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code < 300:
		return said, false, nil
	case code < 400:
		return "", false, netwatch.WithHint(errors.New(said), "redirects are not followed: name the address that it leads to")
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return "", true, errors.New(said)
	}
	return "", false, netwatch.WithHint(errors.New(said), "see the URL, the headers and the body of the step")
}

// withoutURL says why a server was not reached, without the URL.
func withoutURL(ctx context.Context, err error) error {
	failed := new(url.Error)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &failed):
		return err
	case failed.Timeout():
		return fmt.Errorf("no answer within %s", httpTime)
	}
	return failed.Err
}
