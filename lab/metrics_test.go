//go:build lab

package lab

import (
	"strings"
	"testing"
)

// Everyone may ask for the metrics, which are those of the daemon that runs.
func TestMetrics(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	out := shell(t, "runuser -u nobody -- curl -sfm 5 --unix-socket /run/netwatch/netwatch.sock http://netwatch/metrics") + "\n"
	for _, want := range []string{
		"\nnetwatch_source_failing{source=\"stun\",kind=\"stun\"} 0\n", "\nnetwatch_runs_failed{rule=\"started+ip-changed\"} 0\n",
		"\nnetwatch_address_confirmed_timestamp_seconds{family=\"ipv4\"} ", "\nnetwatch_events_total{event=\"started\",source=\"netwatch\"} 1\n",
		"\nnetwatch_steps_total{verb=\"rotate\",outcome=\"unchanged\"} 1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
}
