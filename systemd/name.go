package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"netwatch"
)

// unitTypes are the types of units that can be started and stopped by name.
var unitTypes = []string{"service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice"}

// CheckName says what is wrong with the full name of a unit; systemd.unit(5).
func CheckName(name string) error {
	if bad := strings.IndexFunc(name, notInUnitName); bad >= 0 {
		return fmt.Errorf("unit name %q has %q in it, which no unit name has", name, []rune(name[bad:])[0])
	}
	kind := path.Ext(name)
	prefix, instance, template := strings.Cut(strings.TrimSuffix(name, kind), "@")
	switch {
	case kind == ".scope" || kind == ".device":
		return fmt.Errorf("unit %q is a %s, which cannot be started by name", name, kind[1:])
	case kind == "" || !slices.Contains(unitTypes, kind[1:]):
		return fmt.Errorf("unit name %q must end in its type: write %s", name, withType(name))
	case prefix == "":
		return fmt.Errorf("unit name %q has nothing before its type", name)
	case template && instance == "":
		return fmt.Errorf("unit %q is a template: write which instance, as in %s@NAME%s", name, prefix, kind)
	case len(name) > 255:
		return fmt.Errorf("unit name %q is longer than 255 letters", name)
	}
	return nil
}

// withType is the name that was likely meant: with its type spelt right, or as
// that of a service.
func withType(name string) string {
	kind := path.Ext(name)
	near := netwatch.Nearest(strings.TrimPrefix(kind, "."), unitTypes, 2)
	if len(kind) > 3 && len(near) > 0 {
		return strings.TrimSuffix(name, kind) + "." + near[0]
	}
	return name + ".service"
}

func notInUnitName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
}

// wordsOf are the words of a unit's name, in whatever order they stand in it:
// YunoHost's coturn-synapse.service has become synapse-coturn.service.
func wordsOf(unit string) []string {
	return slices.Sorted(slices.Values(strings.Split(strings.TrimSuffix(unit, path.Ext(unit)), "-")))
}

// nearest are up to three names that may have been meant: those that differ from
// the wanted one in a third of the letters and at most three, then those that hold
// it in theirs or have the same words.
func nearest(name string, names []string) []string {
	stem := strings.TrimSuffix(name, path.Ext(name))
	near := netwatch.Nearest(name, names, min(3, max(1, len(stem)/3)))
	for _, n := range names {
		alike := len(stem) >= 3 && strings.Contains(n, stem) || slices.Equal(wordsOf(n), wordsOf(name))
		if alike && !slices.Contains(near, n) {
			near = append(near, n)
		}
	}
	return near[:min(3, len(near))]
}

// NoSuchUnit is that there is no such unit, and says which there are instead.
func (u *Unit) NoSuchUnit(ctx context.Context) error {
	err := errors.New("there is no such unit")
	near := nearest(u.name, u.unitNames(ctx))
	if len(near) == 0 {
		return netwatch.WithHint(err, "see systemctl list-unit-files for the units that there are")
	}
	return netwatch.WithHint(err, "there is "+strings.Join(near, ", "))
}

// unitNames are the names of all units that are installed or loaded. A unit
// that is loaded only because something names it is none.
func (u *Unit) unitNames(ctx context.Context) []string {
	var files [][]any
	_ = u.call(ctx, "ListUnitFiles").Store(&files)
	var units [][]any
	_ = u.call(ctx, "ListUnits").Store(&units)
	var names []string
	for _, f := range files {
		if path, ok := f[0].(string); ok {
			names = append(names, path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	for _, one := range units {
		if name, ok := one[0].(string); ok && one[2] != "not-found" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Loadable says why systemd has no such unit to work with. Find it out before
// asking for a job: without a polkit rule systemd says only that one is missing,
// whether there is such a unit or not.
func (u *Unit) Loadable(ctx context.Context, st State) error {
	switch st.Load {
	case "not-found":
		return u.NoSuchUnit(ctx)
	case "masked":
		return netwatch.WithHint(errors.New("the unit is masked"), "systemctl unmask "+u.name)
	case "bad-setting", "error":
		err := errors.New(cmp.Or(st.loadError, "systemd cannot read its unit file"))
		return netwatch.WithHint(err, "see systemd-analyze verify "+u.name)
	}
	return nil
}
