package systemd

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// unitPath are the directories in which systemd looks for units; the first one that has
// it counts (systemd.unit(5)). Those of generators are not among them.
var unitPath = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/etc/systemd/system",
	"/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached",
	"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// UnitFiles are the file of a unit and the drop-ins over it, in the order in which systemd
// is about to read them. There are none if the unit has no file.
func UnitFiles(name string) []string {
	for _, of := range []string{name, TemplateOf(name)} {
		for _, dir := range unitPath {
			file := path.Join(dir, of)
			if _, err := os.Lstat(file); err == nil {
				return append([]string{file}, DropIns(glob, unitPath, name)...)
			}
		}
	}
	return nil
}

// glob finds nothing for a pattern that is wrong.
func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern) // Ours are right
	return found
}

// DropIns are the pieces that go over a unit's file: for all services, for those whose
// names begin alike, for the template, for itself. Of pieces with one name that in the
// first of the directories counts, whoever it is for, and there its own (seen with 252).
func DropIns(glob func(pattern string) []string, dirs []string, name string) []string {
	stem := strings.TrimSuffix(name, ".service")
	owners := []string{name, TemplateOf(name)}
	for i := strings.LastIndexByte(stem, '-'); i > 0; i = strings.LastIndexByte(stem[:i], '-') {
		owners = append(owners, stem[:i+1]+".service")
	}
	found := map[string]string{}
	for _, dir := range slices.Backward(dirs) {
		for _, owner := range slices.Backward(append(owners, "service")) {
			for _, file := range glob(dir + "/" + owner + ".d/*.conf") {
				found[path.Base(file)] = file
			}
		}
	}
	var all []string
	for _, piece := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[piece])
	}
	return all
}

// TemplateOf is the template that an instance is made of; another unit has itself.
func TemplateOf(name string) string {
	prefix, _, instance := strings.Cut(name, "@")
	if !instance {
		return name
	}
	return prefix + "@.service"
}
