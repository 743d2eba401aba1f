package lab

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		times Times
		want  string
	}{
		{nil, "never measured"},
		{Times{5 * time.Millisecond}, "median 5 ms, 5 to 5 ms, of 1"},
		{Times{9e6, 1e6, 4e6}, "median 4 ms, 1 to 9 ms, of 3"},
		{Times{9e6, 1e6, 4e6, 5e6}, "median 4 ms, 1 to 9 ms, of 4"},
	} {
		if got := c.times.String(); got != c.want {
			t.Errorf("%v: %q, want %q", []time.Duration(c.times), got, c.want)
		}
	}
}
