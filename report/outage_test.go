package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// outageAt is the entry of the beginning of an outage, or of its end after some time.
func outageAt(at time.Time, family netwatch.Family, lasted time.Duration) netwatch.Entry {
	return netwatch.Entry{
		Time: at, Kind: netwatch.EntryOutage, Seconds: lasted.Seconds(), Fields: map[string]string{"family": string(family)},
	}
}

func TestOutages(t *testing.T) {
	both := []netwatch.Family{netwatch.IPv4, netwatch.IPv6}
	hour := time.Hour.Seconds()
	for name, c := range map[string]struct {
		entries []netwatch.Entry
		want    []Outage
	}{
		"one": {
			[]netwatch.Entry{outageAt(at(1, 0), "ipv4", 0), outageAt(at(1, 60), "ipv4", time.Hour)},
			[]Outage{{both[:1], at(1, 0), at(1, 60), hour}},
		},
		"both": {
			[]netwatch.Entry{
				outageAt(at(1, 0), "ipv4", 0), outageAt(at(1, 0), "ipv6", 0),
				outageAt(at(1, 60), "ipv6", time.Hour), outageAt(at(1, 60), "ipv4", time.Hour),
			},
			[]Outage{{both, at(1, 0), at(1, 60), hour}},
		},
		"lasts": {
			[]netwatch.Entry{outageAt(at(1, 0), "ipv4", 0), outageAt(at(1, 10), "ipv4", 0)},
			[]Outage{{both[:1], at(1, 0), time.Time{}, 47 * hour}},
		},
		"begun before": {
			[]netwatch.Entry{outageAt(at(0, 60), "ipv4", 5*time.Hour)},
			[]Outage{{both[:1], at(0, 0), at(0, 60), hour}},
		},
		"over before": {[]netwatch.Entry{outageAt(at(-1, 60), "ipv4", time.Hour)}, []Outage{}},
		"two": {
			[]netwatch.Entry{outageAt(at(0, 60), "ipv4", time.Hour), outageAt(at(0, 180), "ipv4", time.Hour)},
			[]Outage{{both[:1], at(0, 0), at(0, 60), hour}, {both[:1], at(0, 120), at(0, 180), hour}},
		},
	} {
		r := NewReckoner(at(0, 0), at(2, 0))
		if name == "lasts" {
			r = NewReckoner(at(0, 0), at(2, 23*60))
			r.until = at(1, 47*60)
		}
		for _, e := range c.entries {
			r.AddAddress(e)
		}
		if diff := cmp.Diff(c.want, r.Report("", "", nil).Outages); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
