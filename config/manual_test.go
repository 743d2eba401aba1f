package config_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/sources"
)

// manual is a part of netwatch.toml(5): from a heading to the next.
func manual(t *testing.T, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(string(contents(t, "../docs/netwatch.toml.5")), "\n"+heading+"\n")
	if !found {
		t.Fatalf("netwatch.toml(5) has no %s", heading)
	}
	if end := regexp.MustCompile(`(?m)^\.S[hs] `).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

var item = regexp.MustCompile(`(?m)^\.It Cm ([a-z-]+( \| [a-z-]+)*)`)

// items are the words that a part explains, each of those that have an
// explanation together.
func items(part string) (all []string) {
	for _, m := range item.FindAllStringSubmatch(part, -1) {
		all = append(all, strings.Split(m[1], " | ")...)
	}
	slices.Sort(all)
	return slices.Compact(all) // two forms of one step
}

// same fails when the manual explains anything else than there is.
func same(t *testing.T, where string, known, written []string) {
	t.Helper()
	slices.Sort(known)
	if diff := cmp.Diff(known, written); diff != "" {
		t.Errorf("%s: what there is (-) and what netwatch.toml(5) has (+):\n%s", where, diff)
	}
}

// TestManualKeys holds that netwatch.toml(5) has every key of every section and
// every kind of source, and no other.
func TestManualKeys(t *testing.T) {
	same(t, "[daemon]", config.Keys(reflect.TypeFor[config.Daemon]()), items(manual(t, ".Ss [daemon]")))
	same(t, "[[rule]]", config.RuleKeys(), items(manual(t, ".Ss [[rule]]")))
	parts := strings.Split(manual(t, ".Ss [source.NAME]"), "\n.It Cm kind = Dq ")
	var known, written []string
	for _, kind := range sources.Kinds {
		known = append(known, kind.Name)
	}
	for _, part := range parts[1:] {
		name, part, _ := strings.Cut(part, "\n")
		written = append(written, name)
		for _, kind := range sources.Kinds {
			if kind.Name == name {
				same(t, "[source."+name+"]", config.Keys(reflect.TypeOf(kind.Settings())), items(part))
			}
		}
	}
	slices.Sort(written)
	same(t, "the kinds of sources", known, written)
}

// TestManualSteps holds that netwatch.toml(5) explains every verb, and no other,
// and that its grammar has them all.
func TestManualSteps(t *testing.T) {
	var known []string
	grammar := manual(t, ".Sh GRAMMAR")
	for _, verb := range actions.Verbs {
		known = append(known, verb.Name)
		if !strings.Contains(grammar, `"`+verb.Name+`"`) {
			t.Errorf("the grammar of netwatch.toml(5) lacks %s", verb.Name)
		}
	}
	same(t, "the steps", known, items(manual(t, ".Sh STEPS")))
}

// TestManualEvents holds that netwatch.toml(5) explains every event, and no other.
func TestManualEvents(t *testing.T) {
	same(t, "the events", netwatch.EventNames(), items(manual(t, ".Sh EVENTS")))
}
