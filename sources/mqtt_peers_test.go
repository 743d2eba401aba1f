package sources

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Of a machine that has said no address, as a router that only tells, none is said; to a
// program that reads it, addresses are an object all the same.
func TestPeerWithoutAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(t, map[string]string{})
		l.run(t, func() { l.hears("a", stands(1, nil), time.Second) })
		text, err := json.Marshal(l.Peers())
		if err != nil || !strings.Contains(string(text), `"addresses":{}`) {
			t.Errorf("%s, %v", text, err)
		}
	})
}
