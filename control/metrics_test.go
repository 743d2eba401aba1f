package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"netwatch"
	"netwatch/hooks"
	"netwatch/state"
)

// odd is the name of a rule that has all that must be escaped.
const odd = "a \"b\" \\ c\nd é"

// full is a daemon whose metrics have every name.
func full() stub {
	m := NewMetrics()
	for _, e := range []netwatch.Entry{
		{Kind: netwatch.EntryEvent, Event: "ip-changed", Source: "stun", ID: "a"},
		{
			Kind: netwatch.EntryEvent, Event: "ip-changed", Source: "stun", ID: "b",
			Fields: map[string]string{"new": "203.0.113.7"},
		},
		{Kind: netwatch.EntryStep, Rule: odd, Step: "exec /bin/x one", Outcome: netwatch.Changed, Seconds: 0.5},
		{Kind: netwatch.EntryStep, Rule: odd, Step: "exec /bin/y two", Outcome: netwatch.Failed, Seconds: 1},
		{Kind: netwatch.EntryStep, Rule: odd, Step: "probe", Outcome: netwatch.Skipped, Seconds: 4},
		{Kind: netwatch.EntryRun, Rule: odd, Outcome: netwatch.Failed},
		{Kind: netwatch.EntryRun, Rule: "r", Outcome: netwatch.Changed, Wrong: &netwatch.Wrong{Least: 0.1, Most: 7}},
		{Kind: netwatch.EntryRun, Rule: "r", Outcome: netwatch.Changed, Wrong: &netwatch.Wrong{Least: 4, Most: 1e6}},
		{Kind: netwatch.EntryNote, Error: "x"},
	} {
		m.Add(e)
	}
	failed := netwatch.Entry{Outcome: netwatch.Failed}
	held := netwatch.Entry{Outcome: netwatch.Held}
	return stub{metrics: m, status: Status{
		Version: "1.2", Since: time.UnixMilli(1_800_000_000_250), Refused: "no", Unwritten: &state.Unwritten{},
		Addresses: netwatch.Addresses{netwatch.IPv6: {Confirmed: time.UnixMilli(1_800_000_001_500)}},
		Peers:     []netwatch.Peer{{State: netwatch.PeerHere}, {State: netwatch.PeerHere}, {State: netwatch.PeerGone}},
		Sources: []SourceStatus{
			{Name: "home", Kind: "stun", Error: "x"}, {Name: "b", Kind: "stun", Trouble: []Trouble{{Error: "y"}}},
		},
		Rules: []hooks.RuleStatus{
			{Name: odd, Waiting: &hooks.Waiting{Tried: &failed}, Running: []netwatch.Event{{}}},
			{Name: "held", Waiting: &hooks.Waiting{Tried: &held}},
			{Name: "given up", Failed: zero(hooks.RuleStatus{}.Failed)},
		},
	}}
}

// zero is a new value of a type that is not to be imported here.
func zero[T any](*T) *T { return new(T) }

// scrape is what a GET of /metrics says, as Prometheus reads it.
func scrape(t *testing.T, d Daemon) map[string]*dto.MetricFamily {
	t.Helper()
	path := serve(t, d)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	resp, err := client.Get("http://netwatch/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if format := expfmt.ResponseFormat(resp.Header); format.FormatType() != expfmt.TypeTextPlain {
		t.Errorf("the format is %q", format)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return all
}

// flat is each value by its name and labels.
func flat(all map[string]*dto.MetricFamily) map[string]float64 {
	values := map[string]float64{}
	for name, family := range all {
		for _, m := range family.Metric {
			key := strings.TrimPrefix(name, "netwatch_")
			for _, l := range m.Label {
				if l.GetName() != "goversion" {
					key += " " + l.GetName() + "=" + l.GetValue()
				}
			}
			if h := m.GetHistogram(); h != nil {
				for _, b := range h.Bucket {
					values[fmt.Sprint(key, " le ", b.GetUpperBound())] = float64(b.GetCumulativeCount())
				}
				values[key], values[key+" count"] = h.GetSampleSum(), float64(h.GetSampleCount())
				continue
			}
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetSummary().GetSampleSum()
			if s := m.GetSummary(); s != nil {
				values[key+" count"] = float64(s.GetSampleCount())
			}
		}
	}
	return values
}

// What the daemon did and how it stands is what Prometheus reads, whatever the
// names of rules are; no label is an id or an address.
func TestMetrics(t *testing.T) {
	want := map[string]float64{
		"build_info version=1.2":                          1,
		"start_time_seconds":                              1_800_000_000.25,
		"configuration_refused":                           1,
		"state_unwritten":                                 1,
		"events_total event=ip-changed source=stun":       2,
		"runs_total rule=" + odd + " outcome=failed":      1,
		"steps_total verb=exec outcome=changed":           1,
		"steps_total verb=exec outcome=failed":            1,
		"steps_total verb=probe outcome=skipped":          1,
		"step_duration_seconds verb=exec":                 1.5,
		"step_duration_seconds verb=exec count":           2,
		"address_confirmed_timestamp_seconds family=ipv6": 1_800_000_001.5,
		"source_failing source=home kind=stun":            1,
		"source_failing source=b kind=stun":               0,
		"source_troubled source=home kind=stun":           0,
		"source_troubled source=b kind=stun":              1,
		"peers state=here":                                2,
		"peers state=lost":                                1,
		"peers state=unknown":                             0,
		"runs_pending rule=" + odd:                        2,
		"runs_pending rule=held":                          1,
		"runs_pending rule=given up":                      0,
		"runs_failed rule=" + odd:                         1,
		"runs_failed rule=held":                           0,
		"runs_failed rule=given up":                       1,
		"runs_total rule=r outcome=changed":               2,
		"wrong_least_seconds rule=r":                      4.1,
		"wrong_least_seconds rule=r count":                2,
		"wrong_most_seconds rule=r":                       1_000_007,
		"wrong_most_seconds rule=r count":                 2,
	}
	for _, bound := range bounds {
		want[fmt.Sprint("wrong_least_seconds rule=r le ", bound)] = one(bound >= 0.1) + one(bound >= 4)
		want[fmt.Sprint("wrong_most_seconds rule=r le ", bound)] = one(bound >= 7)
	}
	want["wrong_least_seconds rule=r le +Inf"], want["wrong_most_seconds rule=r le +Inf"] = 2, 2
	if diff := cmp.Diff(want, flat(scrape(t, full()))); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
}

// A daemon that has just begun has metrics too.
func TestMetricsOfNothing(t *testing.T) {
	scrape(t, stub{metrics: NewMetrics()})
}

// Text that is not UTF-8 makes the rest no worse.
func TestMetricsAreUTF8(t *testing.T) {
	m := NewMetrics()
	m.Add(netwatch.Entry{Kind: netwatch.EntryRun, Rule: "a\xff"})
	scrape(t, stub{metrics: m})
}

// The alerts name metrics that there are.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../docs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	there := scrape(t, full())
	names := regexp.MustCompile(`netwatch_[a-z_]+`).FindAllString(string(text), -1)
	if len(names) == 0 {
		t.Error("there are no alerts")
	}
	for _, name := range names {
		if there[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}
