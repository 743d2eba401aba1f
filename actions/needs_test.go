package actions

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
)

// Each verb says itself what it needs.
func TestNeeds(t *testing.T) {
	unit := func(verb string) Needs { return Needs{Units: []UnitNeed{{"x.service", verb}}} }
	target := servers.Target{Server: "coturn", File: "/c", Options: servers.Options{}}
	for _, c := range []struct {
		line string
		want Needs
	}{
		{"restart x.service", unit("restart")},
		{"try-restart x.service", unit("try-restart")},
		{"reload x.service", unit("reload")},
		{"reload-or-restart x.service", unit("reload-or-restart")},
		{"start x.service", unit("start")},
		{"stop x.service", unit("stop")},
		{"signal HUP x.service", unit("kill")},
		{"rotate coturn /c", Needs{Rewrites: []servers.Target{target}}},
		{"verify turn /c", Needs{Reads: []netwatch.Path{"/c"}}},
		{"http POST @/u header=@/h header=X:y body=@/b", Needs{Secrets: []netwatch.Path{"/u", "/h", "/b"}}},
		{"http GET http://host/", Needs{}},
		{"probe", Needs{Sources: []string{""}}},
		{"probe stun", Needs{Sources: []string{"stun"}}},
		{"tell", Needs{Tells: []string{""}}},
		{"tell mqtt", Needs{Tells: []string{"mqtt"}}},
		{"exec /bin/true", Needs{}},
	} {
		if diff := cmp.Diff(c.want, NeedsOf(step(t, Env{}, c.line))); diff != "" {
			t.Errorf("%s: wanted (-) and said (+):\n%s", c.line, diff)
		}
	}
}

// Several steps need what each of them needs, and each unit once.
func TestNeedsOfSeveral(t *testing.T) {
	var steps []netwatch.Step
	for _, line := range []string{
		"restart a.service", "signal HUP b.service", "restart a.service always", "reload a.service", "exec /bin/true",
	} {
		steps = append(steps, step(t, Env{}, line))
	}
	n := NeedsOf(steps...)
	want := []UnitNeed{{"a.service", "restart"}, {"b.service", "kill"}, {"a.service", "reload"}}
	if diff := cmp.Diff(want, n.Units); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a.service", "b.service"}, n.UnitNames()); diff != "" {
		t.Error(diff)
	}
}

// Who rewrites a file looks whose it is by the units of its rule that are started
// with it.
func TestRotateReaders(t *testing.T) {
	bin := t.TempDir()
	const script = "#!/bin/sh\nprintf 'Id=%s\\nUser=me\\nExecStart={ argv[]=/usr/bin/x -c /c ; }\\n' \"$4\"\n"
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	r := step(t, Env{}, "rotate coturn /c")
	steps := []netwatch.Step{r, step(t, Env{}, "restart a.service"), step(t, Env{}, "signal HUP b.service")}
	want := []access.Reader{
		{Unit: "a.service", User: "me", Groups: []string{}}, {Unit: "b.service", User: "me", Groups: []string{}},
	}
	if diff := cmp.Diff(want, r.Action.(*rotation).readers(t.Context(), steps)); diff != "" {
		t.Error(diff)
	}
}
