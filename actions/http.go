package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
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
	// httpFile is how many bytes a file of @FILE may have.
	httpFile = 64 << 10
)

// httpPauses are those between tries: one more try than pauses.
var httpPauses = []time.Duration{time.Second, 5 * time.Second}

// methods are those of RFC 9110 and RFC 5789 that make sense in a notice.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// A httpAction tells somebody of a run. It is the step `http METHOD URL ...`.
type httpAction struct {
	method  string
	url     part
	headers []part
	body    *part
	// anyField says that a placeholder may name a field that netwatch does not know.
	anyField bool
	client   *http.Client
	pauses   []time.Duration
}

// newHTTP makes the step: a notice, which is sent when the run has ended, and
// like the job of a unit only if something changed, unless `always`.
func newHTTP(env Env, verb string, words []string) (netwatch.Step, error) {
	a := &httpAction{anyField: env.AnyField, client: newHTTPClient(), pauses: httpPauses}
	always, err := a.parse(words)
	if err == nil {
		_, err = a.draft().request(context.Background(), netwatch.Job{})
	}
	if errors.Is(err, errNoHTTP) {
		err = fmt.Errorf("%w: %s %s", err, verb, httpUsage)
	}
	return netwatch.Step{Action: a, Notice: true, Gated: !always}, err
}

// newHTTPClient follows no redirect: a notice whose address has moved would
// arrive without its body, and its headers somewhere else.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout:       httpTime,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: httpAnswer},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errNoHTTP is that the words are not those of the step.
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

// A part is a text with placeholders, or the file that has it.
type part struct {
	text string
	file netwatch.Path
}

// parsePart reads TEXT or @FILE.
func parsePart(word string) (part, error) {
	if name, ok := strings.CutPrefix(word, "@"); ok {
		file, err := netwatch.ParsePath(name)
		return part{file: file}, err
	}
	return part{text: word}, nil
}

// draft has something right in place of what is in files: these are looked at
// when a notice is sent.
func (a *httpAction) draft() *httpAction {
	or := func(p part, text string) part {
		if p.file != "" {
			return part{text: text}
		}
		return p
	}
	d := &httpAction{method: a.method, url: or(a.url, "http://localhost/"), anyField: a.anyField}
	for _, p := range a.headers {
		d.headers = append(d.headers, or(p, "Accept: */*"))
	}
	if a.body != nil && a.body.file == "" {
		d.body = a.body
	}
	return d
}

// read is the text, of a file without the line feeds at its end. Errors tell
// nothing of it.
func (p part) read() (string, error) {
	if p.file == "" {
		return p.text, nil
	}
	text, err := readSecret(string(p.file))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", p.file, err)
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// readSecret is the whole of a small file that not every user may read.
func readSecret(file string) (string, error) {
	f, info, err := netwatch.OpenRegular(file, 0)
	if err != nil {
		return "", errors.Unwrap(err) // who calls says which file
	}
	defer f.Close()
	if info.Mode().Perm()&0o007 != 0 {
		err := errors.New("every user may read or change it, and it may hold a secret")
		return "", netwatch.WithHint(err, "chmod o= "+netwatch.ShellPath(file))
	}
	text, err := netwatch.ReadWhole(f, httpFile)
	return string(text), err
}

// placeholders are what a {name} in a text stands for; what is not known is
// empty.
func placeholders(job netwatch.Job) map[string]string {
	values := told(job)
	values["host"], _ = os.Hostname()
	values["rule"], values["outcome"] = job.Ended.Rule, string(job.Ended.Outcome)
	values["step"], values["error"] = job.Ended.Step, job.Ended.Error
	return values
}

// placeholder cannot be the brace of a JSON object, behind which stands a
// quotation mark.
var placeholder = netwatch.Pattern(`\{[A-Za-z][A-Za-z0-9_-]*\}`)

// fill puts the values, escaped, into a text.
func (a *httpAction) fill(text string, values map[string]string, escape func(string) string) (string, error) {
	var unknown error
	filled := placeholder().ReplaceAllStringFunc(text, func(found string) string {
		value, ok := values[found[1:len(found)-1]]
		if !ok && !a.anyField {
			unknown = fmt.Errorf("%s stands for nothing; there are %s", found, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		return escape(value)
	})
	return filled, unknown
}

// The ways to escape a value.

// inURL leaves only what is unreserved (RFC 3986, 2.3), so that a value can
// stand in a path and in a query.
func inURL(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

// inHeader keeps a value from ending its line.
func inHeader(value string) string { return strings.Map(visible, value) }

// inJSON is a value inside of a JSON string.
func inJSON(value string) string {
	text, _ := json.Marshal(value) // a string always can be
	return string(text[1 : len(text)-1])
}

func inText(value string) string { return value }

// request is the notice. Its errors tell nothing of what may be secret.
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

// content is the body, with its values escaped as its type wants it. Without a
// Content-Type a JSON object is said to be one.
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

// Do sends the notice, again after a pause where that may help. The result
// names the host alone: the rest of a URL is often a secret.
func (a *httpAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	for try := 0; ; try++ {
		said, again, err := a.send(ctx, job)
		if err == nil {
			return netwatch.Result{Outcome: netwatch.Changed, Detail: said}
		}
		if !again || try == len(a.pauses) || ctx.Err() != nil {
			return netwatch.Failure(fmt.Errorf("sending a notice: %w", err))
		}
		pause(ctx, a.pauses[try])
	}
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
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, httpAnswer)) // so that it does not fail over there
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

// withoutURL is why a server was not reached, without the address.
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

// pause waits, or less if ctx is done before.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
