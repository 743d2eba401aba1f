package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
	"netwatch/control"
)

// Of each server whose file is rewritten is said that nobody could look at it from outside,
// and why; what lends no relays is left out. None of it is a failure of the server.
func TestVerifyWithoutOthers(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"coturn.conf": "static-auth-secret=s\nexternal-ip=203.0.113.7\n", "users.conf": "user=a:b\nexternal-ip=203.0.113.7\n",
		"livekit.yml": "keys: {k: s}\nrtc: {node_ip: 203.0.113.7}\n", "x.env": "A=203.0.113.7\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := started(t, fmt.Sprintf(`[source.mqtt]
broker = "mqtt://127.0.0.1:9"
host = "a"
password = "@/nowhere/password"
[[rule]]
on = ["x"]
do = ["rotate coturn %[1]s/coturn.conf", "rotate coturn %[1]s/users.conf", "rotate livekit %[1]s/livekit.yml",
	"rotate env %[1]s/x.env A"]
`, dir))
	defer r.stop()
	if s := r.env.Outside(t.Context(), "another", netwatch.Place{}); s.Why == nil {
		t.Errorf("by a source that is not there: %+v", s)
	}
	fields := map[string]string{"family": "ipv4", "new": "203.0.113.7"}
	if err := r.emit(netwatch.NewEvent(netwatch.IPChanged, "stun", fields)); err != nil {
		t.Fatal(err)
	}
	var got []string
	var d control.Daemon = controlled{r.Daemon}
	d.Verify(t.Context(), func(v control.Verified) {
		got = append(got, fmt.Sprintf("%s %s %s%s", filepath.Base(v.File), v.Outcome, v.Detail, v.Error))
	})
	want := []string{
		"coturn.conf skipped unknown: 203.0.113.7 has stood for 0 s",
		"users.conf skipped verifying coturn from outside: it has passwords alone",
	}
	if len(got) != len(want) || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("%q is said", got)
	}
}
