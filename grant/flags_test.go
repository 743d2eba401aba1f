package grant

import (
	"testing"

	"netwatch/servers"
	"netwatch/systemd"
)

// A mark says which flag of which unit is left out, and for which file.
func TestMark(t *testing.T) {
	want := flag{
		Flag: systemd.Flag{Unit: "livekit@a.service"}, target: servers.Target{Server: "livekit", File: "/etc/a b=c.yml"},
	}
	mark := want.mark()
	if got := flagged(want.Unit, mark.Text); got.Unit != want.Unit || !got.target.Equal(want.target) {
		t.Errorf("%+v of\n%s", got, mark.Text)
	}
	for line, is := range map[string]string{
		"/x --config /etc/%i/%%i.yml": "/x --config /etc/a/%i.yml", "%n %N %p": "livekit@a.service livekit@a livekit",
	} {
		if got := want.specified(line); got != is {
			t.Errorf("%s is %s, want %s", line, got, is)
		}
	}
	for _, f := range []flag{
		{Flag: systemd.Flag{Unit: "no-such.service"}, target: want.target},
		{Flag: systemd.Flag{Unit: "x.service"}, target: servers.Target{Server: "coturn"}},
	} {
		if err := f.read(); err != nil || f.found {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if f := flagged("x.service", "Server=other\n"); f.read() == nil {
		t.Error("a flag of a server that nobody knows is left out")
	}
}
