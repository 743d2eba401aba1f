//go:build lab

package lab

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"
)

// testNotice has a rule tell a room of what it did: what is written there, with
// a token that only netwatch may read, is what the run was about.
func testNotice(t *testing.T) {
	again(t)
	home := world.Homeserver(FirstSynapse)
	token, err := home.Login(t.Context(), user, password)
	must(t, err)
	room, err := home.NewRoom(t.Context(), token)
	must(t, err)
	must(t, install()) // which makes the group
	must(t, server.WriteFile("/etc/netwatch/matrix.header", "Authorization: Bearer "+token+"\n", 0o640))
	shell(t, "chgrp netwatch /etc/netwatch/matrix.header")
	coturn := FirstSynapse.Coturn
	step := fmt.Sprintf(`http PUT %s/_matrix/client/v3/rooms/%s/send/m.room.message/{id} header=@/etc/netwatch/matrix.header body='{"msgtype":"m.text","body":"{event} from {old} to {new}: {outcome}"}'`,
		home.URL(), url.PathEscape(room))
	rule := fmt.Sprintf("\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn %s\", \"restart %s\", %q]\n", coturn.File, coturn.Unit, step)
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n"+rule, FirstPublic)
	to := Public(120)
	must(t, world.SetPublic(t.Context(), to))
	want := fmt.Sprintf("ip-changed from %s to %s: changed", FirstPublic, to)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		said, err := home.Messages(t.Context(), token, room)
		if err == nil && !slices.Contains(said, want) {
			err = fmt.Errorf("in the room stands %q, not %q", said, want)
		}
		return err
	}))
}
