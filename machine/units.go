package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"netwatch"
	"netwatch/systemd"
)

// A unit is a service, with the commands that start it as they are run.
type unit struct {
	systemd.Service
	// runs are the words of each command, with variables in their places and without
	// what only starts another program.
	runs [][]string
	// err says why they are not known.
	err error
}

// units are the services with their commands.
func (s *search) units(services []systemd.Service) []unit {
	all := make([]unit, len(services))
	for i, service := range services {
		all[i] = unit{Service: service}
		for _, c := range service.Commands {
			words, err := s.words(service, c)
			if err != nil {
				all[i].err = err
				continue
			}
			all[i].runs = append(all[i].runs, words)
		}
	}
	return all
}

// words are those of a command as it is run.
func (s *search) words(service systemd.Service, c systemd.Command) ([]string, error) {
	words := c.Words
	dollar := func(word string) bool { return strings.Contains(word, "$") }
	if !c.Literal && slices.ContainsFunc(words, dollar) {
		vars, err := s.variables(service)
		if err != nil {
			return nil, err
		}
		if words, err = vars.Expand(words); err != nil {
			return nil, err
		}
	}
	return unwrap(words)
}

// variables are those of a service.
func (s *search) variables(service systemd.Service) (systemd.Variables, error) {
	vars := systemd.Variables{}
	vars.Set(service.Environment...)
	for _, f := range service.Files {
		for _, name := range s.filesOf(f) {
			text, err := s.tree.Read(name)
			if errors.Is(err, fs.ErrNotExist) && f.Optional {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading its EnvironmentFile=%s: %w", name, netwatch.WithoutPath(err))
			}
			vars.Set(systemd.ParseEnvironment(text)...)
		}
	}
	vars.Unset(service.Unset...)
	return vars, nil
}

// filesOf are the files that a pattern stands for.
func (s *search) filesOf(f systemd.EnvironmentFile) []string {
	if strings.ContainsAny(f.Path, "*?[") {
		return s.tree.Glob(f.Path)
	}
	return []string{f.Path}
}

// run are the words of the command that fits; nil if none does.
func (u unit) run(fits func(words []string) bool) []string {
	if i := slices.IndexFunc(u.runs, fits); i >= 0 {
		return u.runs[i]
	}
	return nil
}

// mentions says whether a word of the commands has that text in it.
func mentions(commands []systemd.Command, text string) bool {
	return slices.ContainsFunc(commands, func(c systemd.Command) bool {
		return slices.ContainsFunc(c.Words, func(word string) bool { return strings.Contains(word, text) })
	})
}

// wanted says whether a service may have to do with what is looked for: by its
// commands, or by what runs.
func (s *search) wanted(name string, commands []systemd.Command) bool {
	runs := func(p process) bool { return p.unit() == name || s.runsContainer(p) == name }
	return callsOne(commands, programs) || mentions(commands, "turnserver") || mentions(commands, "synapse") ||
		slices.ContainsFunc(s.relays, runs) || slices.ContainsFunc(s.others, runs)
}

// notSeen notes a unit that nothing can be done for, and why.
func (s *search) notSeen(u unit, err error) {
	s.noted = append(s.noted, u.Name)
	s.Unread = append(s.Unread, fmt.Errorf("looking at what %s starts: %w", u.Name, err))
}

// options are the values of an option that may be given several times.
func options(words []string, short, long string) (all []string) {
	for i, word := range words {
		switch {
		case (word == short || word == long) && i+1 < len(words):
			all = append(all, words[i+1])
		case strings.HasPrefix(word, long+"="):
			all = append(all, word[len(long)+1:])
		case strings.HasPrefix(word, short) && !strings.HasPrefix(word, "--") && len(word) > len(short):
			all = append(all, word[len(short):])
		}
	}
	return all
}

// isProgram says whether the first word is the path of a program.
func isProgram(words []string, name string) bool {
	return len(words) > 0 && path.Base(words[0]) == name
}
