package servers

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"netwatch"
)

// A Start is how a unit starts a server, and how it is told its file.
type Start struct {
	// Programs are what its program is called, and Package is Debian's that brings it.
	Programs []string
	Package  string
	// Files are the options and the variables that name its file, and Dirs those that name
	// the directory where it is called Base.
	Files, Dirs []string
	Base        string
	// Usual is where its file lies if none of them is given: the first that is there.
	Usual []string
	// Instead are the options and the variables by which the file does not say our address,
	// or is none.
	Instead []string
}

// File is the file that a command line and an environment have it started with. An option
// goes before a variable, and the last one counts. has says whether a file is there.
func (s Start) File(words []string, env map[string]string, has func(name string) bool) (string, error) {
	if name := s.instead(words, env); name != "" {
		return "", netwatch.WithHint(fmt.Errorf("%s says what its file should", name),
			"take it out of the unit, and write that into the file")
	}
	file, _ := given(s.Files, words, env)
	if dir, is := given(s.Dirs, words, env); is && file == "" {
		file = path.Join(dir, s.Base)
	}
	switch {
	case path.IsAbs(file):
		return path.Clean(file), nil
	case file != "":
		return "", netwatch.WithHint(fmt.Errorf("it is started with %s", file), "have its unit name the full path")
	}
	return s.usual(words, has)
}

// usual is where its file lies by itself: below /opt if its program does.
func (s Start) usual(words []string, has func(name string) bool) (string, error) {
	all := slices.DeleteFunc(slices.Clone(s.Usual), func(name string) bool { return !has(name) })
	if len(all) == 0 {
		return "", errors.New("it is started without the name of a file")
	}
	optional := func(name string) bool { return strings.HasPrefix(name, "/opt/") }
	i := slices.IndexFunc(all, func(name string) bool { return optional(name) == optional(words[0]) })
	return all[max(i, 0)], nil
}

// instead is the option or the variable that stands for the file.
func (s Start) instead(words []string, env map[string]string) string {
	for _, name := range s.Instead {
		if value, is := given([]string{name}, words, env); is && value != "" {
			return name
		}
	}
	return ""
}

// given is the value of the first of these names that is given.
func given(names, words []string, env map[string]string) (value string, is bool) {
	for _, name := range names {
		if !strings.HasPrefix(name, "-") {
			if value, is = env[name]; is {
				return value, true
			}
			continue
		}
		for i, word := range words {
			switch after, joined := strings.CutPrefix(word, name+"="); {
			case joined:
				value, is = after, true
			case word == name && i+1 < len(words):
				value, is = words[i+1], true
			}
		}
		if is {
			return value, true
		}
	}
	return "", false
}

// IsFound says whether a server can be found on a machine by how it is started.
func (s Server) IsFound() bool { return len(s.Start.Programs) > 0 }

// Proven says whether a step can ask it as its callers do.
func (s Server) Proven() bool { return s.Offer != nil || s.Calls != nil }

// CheckProof says why a step that asks it as its callers do could only fail with conf: there
// is nothing in it to ask with. What else may be wrong, the step says.
func (s Server) CheckProof(conf []byte) error {
	switch {
	case conf == nil: // It may not be read here
	case s.Offer != nil:
		if offer, err := s.Offer(conf, time.Now()); err == nil && slices.Contains(offer.Credentials, nil) {
			return errors.New(s.Words.Nobody)
		}
	case s.Calls != nil:
		if _, err := s.Calls(conf, nil); errors.Is(err, ErrNoKeys) {
			return err
		}
	}
	return nil
}

// Steps are those that set our address in its file, have a unit that runs it follow, and
// prove that, where they can. conf is what the file says now. always is whether it is to be done although
// the file was right.
func (s Server) Steps(file, unit string, conf []byte, always bool) (steps []string) {
	itself := s.Itself != nil && s.Itself(conf)
	if !itself {
		steps = append(steps, "rotate "+s.Name+" "+shellquote.Join(file))
	}
	follow := s.FollowStep(unit, itself || always, s.Drain)
	steps = append(steps, follow)
	switch {
	case s.Proven() && s.CheckProof(conf) == nil:
		steps = append(steps, "verify "+s.Name+" "+shellquote.Join(file))
	case s.Loses: // And nobody would see it
		steps = append(steps, follow)
	}
	return steps
}

// FollowStep is the step that has a unit heed its file anew.
func (s Server) FollowStep(unit string, always bool, drain string) string {
	step := s.Follow + " " + shellquote.Join(unit)
	if always {
		step += " always"
	}
	if drain != "" {
		step += " drain=" + drain
	}
	return step
}

// samples are addresses of nobody.
var samples = netwatch.Addresses{
	netwatch.IPv4: {Address: netip.MustParseAddr("192.0.2.1")},
	netwatch.IPv6: {Address: netip.MustParseAddr("2001:db8::1")},
}

// Takes says why conf could not be given a public address, if it could not. own is the
// address of this machine by which packets of a family go out.
func (s Server) Takes(conf []byte, own func(netwatch.Family) netip.Addr) error {
	w := Wanted{Public: netwatch.Addresses{}}
	for family, a := range samples {
		a.Own = own(family)
		w.Public[family] = a
	}
	text, word, err := s.Rewrite(conf, w)
	if err == nil && word != "" && string(text) == string(conf) && (s.Itself == nil || !s.Itself(conf)) {
		for _, a := range samples {
			word = strings.ReplaceAll(word, a.Address.String(), "the public address")
		}
		err = errors.New(word)
	}
	return err
}
