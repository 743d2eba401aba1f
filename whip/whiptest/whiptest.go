// Package whiptest is a server that gives candidates to callers as LiveKit does. It is for
// tests alone.
package whiptest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key and Secret are what the server knows.
const (
	Key    = "devkey"
	Secret = "not to be seen by anybody at all 0123" //nolint:gosec // A secret of tests alone.
)

// A Server gives every caller who has a token the same candidates.
type Server struct {
	// Addr is where it listens.
	Addr netip.AddrPort

	mu         sync.Mutex
	candidates []string
	links      []string
	asked      []string
	unready    int
}

// New starts a server on loopback that ends with the test. Each candidate is
// "OVER ADDRESS PORT".
func New(t *testing.T, candidates ...string) *Server {
	t.Helper()
	s := &Server{candidates: candidates}
	http := httptest.NewServer(s)
	t.Cleanup(http.Close)
	s.Addr = netip.MustParseAddrPort(http.Listener.Addr().String())
	return s
}

// Say has it give other candidates from now on.
func (s *Server) Say(candidates ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = candidates
}

// Link has it give links from now on.
func (s *Server) Link(links ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = links
}

// Unready has it take no room for so many requests from now on, as soon after its start.
func (s *Server) Unready(requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unready = requests
}

// Asked are the requests until now, as "METHOD PATH STATUS".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.answer(w, r)
	s.asked = append(s.asked, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, code))
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) (code int) {
	room, err := room(r.Header.Get("Authorization"), time.Now())
	offer, _ := io.ReadAll(r.Body)
	const removal = "/twirp/livekit.RoomService/RemoveParticipant"
	switch {
	case err != nil:
		code = http.StatusUnauthorized
	case r.URL.Path == removal && string(offer) == `{"room":"`+room+`","identity":"`+room+`"}`:
		code = http.StatusOK
	case r.Method != http.MethodPost || r.URL.Path != "/whip/v1":
		code = http.StatusNotFound
	case r.Header.Get("Content-Type") != "application/sdp" || !strings.Contains(string(offer), "\r\na=sendonly\r\n"):
		code = http.StatusBadRequest
	case s.unready > 0:
		s.unready--
		code = http.StatusInternalServerError
	default:
		code = http.StatusCreated
		w.Header()["Link"] = s.links
	}
	w.WriteHeader(code)
	if code == http.StatusCreated {
		_, _ = fmt.Fprintf(w, "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n")
		for i, c := range s.candidates {
			words := strings.Fields(c)
			_, _ = fmt.Fprintf(w, "a=candidate:%d 1 %s 2130706431 %s %s typ host\r\n", i, words[0], words[1], words[2])
		}
	}
	return code
}

// room is the room of a token that is good at a time.
func room(bearer string, now time.Time) (string, error) {
	parts := strings.Split(strings.TrimPrefix(bearer, "Bearer "), ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("%q is no token", bearer)
	}
	mac := hmac.New(sha256.New, []byte(Secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if signed, err := base64.RawURLEncoding.DecodeString(parts[2]); err != nil || !hmac.Equal(signed, mac.Sum(nil)) {
		return "", fmt.Errorf("it is not signed: %w", err)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		Iss      string
		Nbf, Exp int64
		Video    struct {
			RoomJoin, CanPublish, Hidden, RoomAdmin, RoomCreate, RoomList bool
			Room                                                          string
		}
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return "", err
	}
	v := claims.Video
	if claims.Iss != Key || now.Unix() < claims.Nbf || now.Unix() > claims.Exp || claims.Exp > now.Add(time.Hour).Unix() ||
		!v.RoomJoin || !v.CanPublish || !v.Hidden || !v.RoomAdmin || v.RoomCreate || v.RoomList || v.Room == "" {
		return "", fmt.Errorf("it may not: %+v", claims)
	}
	return v.Room, nil
}
