package machine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"netwatch"
	"netwatch/systemd"
)

// unitDirs are the directories in which systemd looks for a unit; the first one that
// has it counts (systemd.unit(5)). Units below /run do not last, but those that generators
// make anew.
var unitDirs = []string{
	"/etc/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system", "/lib/systemd/system",
}

// installed are all services by their files, without templates and masked ones, where
// systemd cannot be asked. Of a template those instances count that start at boot. What
// runs, files do not tell.
func (s *search) installed() (all []systemd.Service) {
	files := map[string]string{} // By the name of the unit
	for _, dir := range slices.Backward(unitDirs) {
		for _, file := range s.tree.Glob(dir + "/*.service") {
			files[path.Base(file)] = file
		}
	}
	for name := range s.started() {
		if template := systemd.TemplateOf(name); files[name] == "" && files[template] != "" {
			files[name] = files[template]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := files[name]
		// To /dev/null is masked, to another name an alias.
		to, err := os.Readlink(s.tree.Host(file))
		alias := err == nil && path.Base(to) != name && path.Base(to) != systemd.TemplateOf(name)
		if strings.HasSuffix(name, "@.service") || alias {
			continue
		}
		all = append(all, s.installedUnit(name, file))
	}
	return all
}

// started are the units that start with another one. systemctl enable makes a symlink
// for that.
func (s *search) started() map[string]bool {
	all := map[string]bool{}
	for _, dir := range []string{"*.wants", "*.requires"} {
		for _, link := range s.tree.Glob("/etc/systemd/system/" + dir + "/*.service") {
			all[path.Base(link)] = true
		}
	}
	return all
}

// installedUnit reads the file of a unit, and then its drop-ins.
func (s *search) installedUnit(name, file string) systemd.Service {
	u := unitText{Service: systemd.Service{Name: name, Enabled: s.started()[name]}}
	u.Texts = append([]string{file}, systemd.DropIns(s.tree.Glob, unitDirs, name)...)
	for _, f := range u.Texts {
		u.add(s.read(f))
	}
	mentions := func(program string) bool { return strings.Contains(u.all, program) }
	if u.err != nil && slices.ContainsFunc(append([]string{"turnserver"}, programs...), mentions) {
		s.notSeen(unit{Service: u.Service}, u.err)
	}
	return u.Service
}

// A unitText is a service while its file and its drop-ins are read.
type unitText struct {
	systemd.Service
	all string
	err error
}

// add reads one text: each key adds, and an empty one forgets what was before
// (systemd.service(5)).
func (u *unitText) add(text []byte) {
	for _, a := range systemd.Assignments(text) {
		if a.Section != "[Service]" {
			continue
		}
		if err := u.set(a.Key, a.Value); err != nil {
			u.err = fmt.Errorf("reading its %s=: %w", a.Key, err)
		}
	}
}

// unitKeys are those that matter here.
var unitKeys = []string{
	"ExecStart", "Environment", "EnvironmentFile", "UnsetEnvironment", "RootDirectory", "WorkingDirectory",
}

// set takes one assignment.
func (u *unitText) set(key, value string) error {
	if !slices.Contains(unitKeys, key) {
		return nil
	}
	u.all += value + "\n"
	words, err := u.split(value)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		u.reset(key)
		return nil
	}
	switch key {
	case "ExecStart":
		u.Commands = append(u.Commands, command(words))
	case "Environment":
		u.Environment = append(u.Environment, words...)
	case "UnsetEnvironment":
		u.Unset = append(u.Unset, words...)
	case "EnvironmentFile":
		name, optional := strings.CutPrefix(words[0], "-")
		u.Files = append(u.Files, systemd.EnvironmentFile{Path: name, Optional: optional})
	case "WorkingDirectory":
		u.Directory = strings.TrimPrefix(words[0], "-")
	default:
		u.Root = words[0]
	}
	return nil
}

// reset forgets what a key has had so far.
func (u *unitText) reset(key string) {
	switch key {
	case "ExecStart":
		u.Commands = nil
	case "Environment":
		u.Environment = nil
	case "UnsetEnvironment":
		u.Unset = nil
	case "EnvironmentFile":
		u.Files = nil
	case "WorkingDirectory":
		u.Directory = ""
	default:
		u.Root = ""
	}
}

// command is a command without the characters that may stand before its program: with
// @ the second word is only what it is called, and with : no variable is replaced.
func command(words []string) systemd.Command {
	program := strings.TrimLeft(words[0], "@-:+!|")
	before := strings.TrimSuffix(words[0], program)
	if strings.Contains(before, "@") && len(words) > 1 {
		words = words[1:]
	}
	return systemd.Command{
		Words: append([]string{program}, words[1:]...), Literal: strings.Contains(before, ":"),
	}
}

var specifier = netwatch.Pattern(`%.?`)

// split takes a value apart, with the unit's name in the place of its specifiers. What
// it does not know it says.
func (u *unitText) split(value string) (words []string, err error) {
	if strings.Contains(value, `\`) {
		return nil, errors.New("there is a backslash in it, which only systemd reads")
	}
	stem := strings.TrimSuffix(u.Name, ".service")
	prefix, instance, _ := strings.Cut(stem, "@")
	value = specifier().ReplaceAllStringFunc(value, func(found string) string {
		switch found {
		case "%%":
			return "%"
		case "%n":
			return u.Name
		case "%N":
			return stem
		case "%p":
			return prefix
		case "%i":
			return instance
		}
		err = fmt.Errorf("there is %s in it, which only systemd knows", found)
		return found
	})
	if err != nil {
		return nil, err
	}
	return shellquote.Split(value)
}
