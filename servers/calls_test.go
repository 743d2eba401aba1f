package servers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"netwatch"
)

// Where the keys are elsewhere, the step to write is told, and nothing of the file's that
// would be more than a path in it.
func TestKeysElsewhere(t *testing.T) {
	for file, want := range map[string]string{
		"/etc/livekit/keys.yaml":        "write keys=/etc/livekit/keys.yaml behind",
		"keys.yaml":                     "write keys=PATH behind",
		`/k", "exec /bin/x`:             "write keys=PATH behind",
		"/k always":                     "write keys=PATH behind",
		"/" + strings.Repeat("k", 4096): "write keys=PATH behind",
	} {
		_, err := livekitCalls(fmt.Appendf(nil, "key_file: %q\n", file), nil)
		if hint := netwatch.Hint(err); !errors.Is(err, ErrNoKeys) || !strings.Contains(hint, want) || len(err.Error()) > 200 {
			t.Errorf("%.80s: %v, hint %.200s", file, err, hint)
		}
	}
}

// The key is the first by its name, of those that are used, and the relays are those that
// are on.
func TestCalls(t *testing.T) {
	const conf = `port: 7880
bind_addresses: ["[::1]", nonsense]
keys: {b: second, a: first, c: third}
turn: {enabled: true, udp_port: 3478, tls_port: 5349, bind_addresses: [192.0.2.1]}
`
	c, err := livekitCalls([]byte(conf), nil)
	if err != nil {
		t.Fatal(err)
	}
	relays := []Listener{{Over: UDP, Port: 3478}, {Over: TLS, Port: 5349}}
	if c.Key != "a" || c.Secret != "first" || !slices.Equal(c.Relays, relays) {
		t.Errorf("it is %+v", c)
	}
	if at, err := c.At(); err != nil || at.String() != "[::1]:7880" {
		t.Errorf("it is asked at %s, %v", at, err)
	}
	if at, err := c.RelayAt(relays[0]); err != nil || at.String() != "192.0.2.1:3478" {
		t.Errorf("its relays are asked for at %s, %v", at, err)
	}
	if c, err := livekitCalls([]byte(conf), []byte("d: other\n")); err != nil || c.Key != "d" || c.Secret != "other" {
		t.Errorf("with keys elsewhere it is %+v, %v", c, err)
	}
	if _, err := livekitCalls([]byte(conf), []byte("[")); err == nil || !strings.HasPrefix(err.Error(), "of the keys: ") {
		t.Errorf("with keys that are none it says %v", err)
	}
	c, err = livekitCalls([]byte("keys: {a: b}\nturn: {enabled: true, tls_port: 5349, external_tls: true}\n"), nil)
	if err != nil || !slices.Equal(c.Relays, []Listener{{Over: TCP, Port: 5349}}) {
		t.Errorf("without TLS of its own it is %+v, %v", c, err)
	}
	if at, err := c.At(); err != nil || at.String() != "127.0.0.1:7880" {
		t.Errorf("everywhere it is asked at %s, %v", at, err)
	}
}
