package actions

import (
	"slices"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/systemd"
	"netwatch/systemd/systemdtest"
)

// A program that does not end is told so again after the drain, and one that ends is not.
func TestDrainOfAUnit(t *testing.T) {
	for name, ends := range map[string]bool{"goes on": false, "ends": true} {
		t.Run(name, func(t *testing.T) {
			f := systemdtest.New(t)
			told := make(chan struct{})
			f.Does(func(f *systemdtest.Fake, call string) string {
				if strings.HasPrefix(call, "KillUnit") {
					close(told)
					return ""
				}
				f.Set("ActiveState", "deactivating", "SubState", "stop-sigterm")
				if !ends {
					<-told
				}
				return systemdtest.Restarted(f, call)
			})
			drain := map[bool]string{false: "100ms", true: "1h"}[ends]
			wantResult(t, do(t, Env{}, "restart t.service drain="+drain, 5*time.Second), netwatch.Changed, "")
			if got := slices.Contains(f.Asked(), "KillUnit main 15"); got == ends {
				t.Errorf("it was asked %q", f.Asked())
			}
		})
	}
}

// That it may not be told is said.
func TestDrainRefused(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, call string) string {
		f.Set("ActiveState", "deactivating", "SubState", "stop-sigterm")
		f.Refuses("org.freedesktop.DBus.Error.AccessDenied", "no")
		<-time.After(time.Second)
		return systemdtest.Restarted(f, call)
	})
	r := do(t, Env{}, "restart t.service drain=50ms", 5*time.Second)
	wantResult(t, r, netwatch.Failed, "restarting t.service: ending it after 50ms: ")
}

func TestDrainWords(t *testing.T) {
	s, err := newRestart(Env{}, "restart", []string{"a.service", "always", "drain=5s"})
	a, ok := s.Action.(*unitAction)
	if err != nil || !ok || a.drain != drain(5*time.Second) || s.Gated {
		t.Errorf("%+v %v", s, err)
	}
	want := []UnitNeed{{"a.service", "restart"}, {"a.service", systemd.Kill}}
	if got := NeedsOf(s).Units; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for words, said := range map[string]string{
		"a.service drain=":          "drain= is not understood: a duration up to 1h0m0s, as 5s: restart " + restartUsage,
		"a.service drain=-1s":       "drain=-1s is not understood",
		"a.service drain=2h":        "drain=2h is not understood",
		"a.service drain=5s always": `"drain=5s" after the unit is not understood`,
		"drain=5s":                  "a unit is missing",
	} {
		if _, err := newRestart(Env{}, "restart", strings.Fields(words)); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v", words, err)
		}
	}
	if _, err := newUnit(Env{}, "stop", []string{"a.service", "drain=5s"}); err == nil {
		t.Error("stop takes a drain")
	}
}
