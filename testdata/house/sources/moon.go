package sources

import (
	"context"
	"fmt"
	"strings"

	"netwatch"
)

// A Moon is the settings of a source that emits moon-rose with the phase that a
// calendar says.
type Moon struct {
	Calendar netwatch.Path `toml:"calendar"`
}

func newMoon() Settings { return &Moon{} }

// Check wants a calendar.
func (m *Moon) Check() []Mistake {
	if m.Calendar == "" {
		return []Mistake{{"calendar", -1, "there is no calendar"}}
	}
	return nil
}

// Needs is the calendar.
func (m *Moon) Needs() Needs { return Needs{Watches: []netwatch.Path{m.Calendar}} }

// Source makes the source.
func (m *Moon) Source(name string, env Env) netwatch.Source { return m.Prober(name, env) }

// Prober makes the source, which can be asked to look at once.
func (m *Moon) Prober(name string, _ Env) netwatch.Prober { return &moon{name, string(m.Calendar)} }

type moon struct{ name, calendar string }

// String is the name in the configuration.
func (m *moon) String() string { return m.name }

// Run looks once: the calendar of this moon never changes.
func (m *moon) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	text, err := readFile(m.calendar)
	if err != nil {
		return err
	}
	phase := strings.TrimSpace(string(text))
	if err := emit(netwatch.NewEvent("moon-rose", m.name, map[string]string{"phase": phase})); err != nil {
		return fmt.Errorf("telling of the moon: %w", err)
	}
	<-ctx.Done()
	return nil
}

// Probe has nothing to find.
func (m *moon) Probe(context.Context) netwatch.Result {
	return netwatch.Result{Outcome: netwatch.Unchanged, Detail: "it is there"}
}
