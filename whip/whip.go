// Package whip asks a LiveKit server which addresses it gives to callers. It offers to
// send sound as WHIP (RFC 9725) has it, reads the candidates in the answer, and takes the
// offer back: no sound is sent, and nobody is called. It knows nothing of the file that
// the server was started with.
package whip

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// path is where LiveKit takes offers, and removal where it is told to forget a caller.
	path    = "/whip/v1"
	removal = "/twirp/livekit.RoomService/RemoveParticipant"
	// maxAnswer is how much of an answer is read, in bytes, and of what stands before it; they
	// have some 2000.
	maxAnswer = 64 << 10
	// maxName is how long a name in STUN may be (RFC 8489, 14.3).
	maxName = 509
	// good is for how long a token is.
	good = time.Minute
	// skew is by how much a token is older than it is, for clocks that differ.
	skew = 10 * time.Second
	// goodbye is how long to wait for a server to let go of an offer.
	goodbye = 500 * time.Millisecond
)

// Refused says that the server answered, and not with candidates.
type Refused struct {
	// Code is the status of HTTP.
	Code int
}

// Error is the status.
func (r *Refused) Error() string {
	return strings.TrimSpace(fmt.Sprintf("it answers %d %s", r.Code, http.StatusText(r.Code)))
}

// An Ask is a question for candidates.
type Ask struct {
	To netip.AddrPort
	// Key and Secret are those that the server knows.
	Key, Secret string
}

// A Candidate is an address that a caller is told to reach the server at.
type Candidate struct {
	Address netip.Addr
	Port    uint16
	// Over is udp or tcp.
	Over string
}

// client asks the server itself and nobody else, each time anew.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// A Relay is a TURN server that a caller is told of, and who he is there.
type Relay struct{ Name, Password string }

// A Call is an offer that a server has answered. To the server somebody is there until it
// is closed.
type Call struct {
	// Candidates are those that a caller gets, in their order.
	Candidates []Candidate
	// Relays are the TURN servers that he is told of, in their order.
	Relays []Relay

	ask  Ask
	room string
}

// Open makes an offer, and returns once it is answered.
func Open(ctx context.Context, a Ask) (*Call, error) {
	c := &Call{ask: a, room: "netwatch-" + random(8)}
	err := c.open(ctx)
	if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		c.Close() // A server that failed counts the caller for a minute (measured, 1.9.11)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// open sends an offer and reads the answer.
func (c *Call) open(ctx context.Context) error {
	response, err := c.send(ctx, path, "application/sdp", offer())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return &Refused{response.StatusCode}
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading its answer: %w", err)
	}
	c.Relays = relays(response.Header.Values("Link"))
	c.Candidates, err = candidates(string(answer))
	return err
}

// The links of an answer that are TURN servers (RFC 9725, 4.6), as LiveKit writes them.
var (
	turnLink = regexp.MustCompile(`^<turns?(?::|%3A)`)
	userIn   = regexp.MustCompile(`; *username="([^"]*)"`)
	secretIn = regexp.MustCompile(`; *credential="([^"]*)"`)
)

// relays are those of links, each once: a server has one for each of its transports.
func relays(links []string) (all []Relay) {
	for _, link := range links {
		user, secret := userIn.FindStringSubmatch(link), secretIn.FindStringSubmatch(link)
		if !turnLink.MatchString(link) || user == nil || secret == nil || len(user[1]) > maxName {
			continue
		}
		if r := (Relay{user[1], secret[1]}); !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// Close has the server forget the caller. If that fails, it does so by itself, as nobody
// comes.
func (c *Call) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	gone, err := c.send(ctx, removal, "application/json", `{"room":"`+c.room+`","identity":"`+c.room+`"}`)
	if err == nil {
		_ = gone.Body.Close()
	}
}

// send sends a text and returns the response.
func (c *Call) send(ctx context.Context, path, form, text string) (*http.Response, error) {
	to := url.URL{Scheme: "http", Host: c.ask.To.String(), Path: path}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.ask.token(time.Now(), c.room))
	request.Header.Set("Content-Type", form)
	response, err := client.Do(request)
	if ended, ok := errors.AsType[*url.Error](err); ok {
		err = ended.Err // Without the address, which who asks knows
	}
	return response, err
}

// token is what lets its bearer send into a room of its own, and remove who is there, by
// RFC 7519 with HS256. It is good for nothing else: whoever listens at the port may get it
// who is not LiveKit.
func (a Ask) token(now time.Time, room string) string {
	claims, _ := json.Marshal(map[string]any{ // It has nothing that JSON cannot hold
		"iss": a.Key, "sub": room, "nbf": now.Add(-skew).Unix(), "exp": now.Add(good).Unix(),
		"video": map[string]any{
			"roomJoin": true, "room": room, "canPublish": true, "hidden": true, "roomAdmin": true,
		},
	})
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text)) // Never fails
	return text + "." + encode(mac.Sum(nil))
}

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// random is text that nobody can guess, of so many bytes.
func random(bytes int) string {
	text := make([]byte, bytes)
	_, _ = rand.Read(text) // Never fails
	return hex.EncodeToString(text)
}

// offer is an offer to send sound (RFC 8866, 8829), without candidates.
func offer() string {
	digest := make([]byte, sha256.Size) // Of no certificate: nothing will come
	_, _ = rand.Read(digest)            // Never fails
	lines := []string{
		"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
		"m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sendonly", "a=rtcp-mux", "a=setup:actpass",
		"a=ice-ufrag:" + random(4), "a=ice-pwd:" + random(16),
		"a=fingerprint:sha-256 " + strings.ReplaceAll(fmt.Sprintf("% X", digest), " ", ":"),
		"a=rtpmap:111 opus/48000/2", "a=msid:netwatch sound", "",
	}
	return strings.Join(lines, "\r\n")
}

// candidates are those of an answer, each once (RFC 8839, 5.1).
func candidates(answer string) (all []Candidate, err error) {
	seen := map[Candidate]bool{}
	for line := range strings.Lines(answer) {
		text, is := strings.CutPrefix(line, "a=candidate:")
		if !is {
			continue
		}
		var c Candidate
		var foundation, address string
		var component, priority int
		if _, err := fmt.Sscan(text, &foundation, &component, &c.Over, &priority, &address, &c.Port); err != nil {
			return nil, fmt.Errorf("reading a candidate: %w", err)
		}
		if c.Address, err = netip.ParseAddr(address); err != nil || c.Address.Zone() != "" {
			continue // A name, as browsers have, or with any text behind it
		}
		if c.Over = strings.ToLower(c.Over); !seen[c] {
			all = append(all, c)
		}
		seen[c] = true
	}
	return all, nil
}
