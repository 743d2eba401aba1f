package doctor

import "testing"

func TestRangeOf(t *testing.T) {
	spread := func(from, step uint16) (ports []uint16) {
		for i := range uint16(16) {
			ports = append(ports, from+i*step)
		}
		return ports
	}
	for name, c := range map[string]struct {
		ports  []uint16
		want   portRange
		shared bool
	}{
		"all over":            {spread(2048, 4096), portRange{}, false},
		"a quarter":           {spread(16500, 1000), portRange{16384, 32767}, true},
		"an eighth":           {spread(40970, 500), portRange{40960, 49151}, true},
		"one after the other": {spread(50000, 1), portRange{}, false},
		"over the edge":       {spread(30000, 500), portRange{}, false},
		"too few":             {spread(16500, 1000)[:5], portRange{}, false},
		"none":                {nil, portRange{}, false},
	} {
		if got, shared := rangeOf(c.ports); got != c.want || shared != c.shared {
			t.Errorf("%s: %s, %t", name, got, shared)
		}
	}
}

func TestJudgePorts(t *testing.T) {
	quarter := portRange{16384, 32767}
	for conf, fits := range map[string]bool{
		"":                               false,
		"min-port=20000\nmax-port=20100": true,
		"min-port=32000\nmax-port=33000": false,
		"min-port=49153\nmax-port=49193": false,
	} {
		found := judgePorts("/f", addr("203.0.113.1"), quarter, relayPorts([]byte(conf)))
		if (len(found) == 0) != fits {
			t.Errorf("%q: %+v", conf, found)
		}
		for _, f := range found {
			wants(t, conf, f, Problem, "shared")
		}
	}
}
