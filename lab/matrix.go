package lab

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" // What Synapse's registration is signed with.
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// A Homeserver is a Synapse in the lab as its reverse proxy meets it: by HTTP,
// from the server itself.
type Homeserver struct {
	url    string
	secret string
	client *http.Client
}

// Homeserver is the Synapse of an instance, which need not run yet.
func (l *Lab) Homeserver(i Instance) Homeserver {
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		at, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		return l.dialServer(ctx, at)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return Homeserver{fmt.Sprintf("http://%s:%d", Private, i.HTTP), i.Secret, &http.Client{Transport: transport}}
}

// dialServer connects by TCP from the server's network.
func (l *Lab) dialServer(ctx context.Context, addr netip.AddrPort) (conn net.Conn, err error) {
	err = within(l.Net, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr.String()) // On this thread: there is nothing to look up.
		return err
	})
	return conn, err
}

// A TURNServer is what Synapse tells a client about the TURN server for its calls
// (Client-Server API of Matrix, GET /voip/turnServer).
type TURNServer struct {
	Username string
	Password string
	URIs     []string
	// TTL is for how many seconds the credential is good.
	TTL int
}

// Healthy says why Synapse does not answer, or nil.
func (h Homeserver) Healthy(ctx context.Context) error {
	return h.call(ctx, http.MethodGet, "/health", "", nil, nil)
}

// Register makes a user by the shared secret, as register_new_matrix_user does.
func (h Homeserver) Register(ctx context.Context, user, password string) error {
	const path = "/_synapse/admin/v1/register"
	var challenge struct{ Nonce string }
	if err := h.call(ctx, http.MethodGet, path, "", nil, &challenge); err != nil {
		return err
	}
	mac := hmac.New(sha1.New, []byte(h.secret))
	mac.Write([]byte(strings.Join([]string{challenge.Nonce, user, password, "notadmin"},
		"\x00"))) // A hash never returns an error.
	request := map[string]any{
		"nonce": challenge.Nonce, "username": user, "password": password,
		"admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}
	return h.call(ctx, http.MethodPost, path, "", request, nil)
}

// Login is the access token of a user.
func (h Homeserver) Login(ctx context.Context, user, password string) (token string, err error) {
	request := map[string]any{
		"type": "m.login.password", "password": password,
		"identifier": map[string]string{"type": "m.id.user", "user": user},
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = h.call(ctx, http.MethodPost, "/_matrix/client/v3/login", "", request, &answer)
	return answer.AccessToken, err
}

// TURNServer asks with an access token for the server for calls.
func (h Homeserver) TURNServer(ctx context.Context, token string) (TURNServer, error) {
	var answer TURNServer
	err := h.call(ctx, http.MethodGet, "/_matrix/client/v3/voip/turnServer", token, nil, &answer)
	return answer, err
}

// URL is where a client finds Synapse on the server's own network.
func (h Homeserver) URL() string { return h.url }

// NewRoom makes a room with an access token and returns its id.
func (h Homeserver) NewRoom(ctx context.Context, token string) (id string, err error) {
	var answer struct {
		RoomID string `json:"room_id"`
	}
	err = h.call(ctx, http.MethodPost, "/_matrix/client/v3/createRoom", token, struct{}{}, &answer)
	return answer.RoomID, err
}

// Messages are the texts in a room, newest first.
func (h Homeserver) Messages(ctx context.Context, token, room string) (texts []string, err error) {
	var answer struct {
		Chunk []struct {
			Type    string
			Content struct{ Body string }
		}
	}
	err = h.call(ctx, http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/messages?dir=b&limit=50",
		token, nil, &answer)
	for _, event := range answer.Chunk {
		if event.Type == "m.room.message" {
			texts = append(texts, event.Content.Body)
		}
	}
	return texts, err
}

// call sends a request as JSON, unless it is nil, and decodes the answer, unless
// nobody wants it. Another status than 200 is an error with what was answered.
func (h Homeserver) call(ctx context.Context, method, path, token string, request, answer any) error {
	var body bytes.Buffer
	if request != nil {
		if err := json.NewEncoder(&body).Encode(request); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, h.url+path, &body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := h.client.Do(r)
	if err != nil {
		return fmt.Errorf("asking Synapse: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading Synapse's answer: %w", err)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("asking Synapse for %s: %s: %s", path, response.Status, text)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}
