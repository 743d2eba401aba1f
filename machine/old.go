package machine

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"netwatch"
)

// An Old is something that netwatch replaces: a script, or some lines of a file.
// Administrators set it up by hand, as YunoHost's documentation of Synapse told them
// to.
type Old struct {
	// File is where it stands.
	File string
	// What says in a few words what it does.
	What string
	// Lines are the lines of the file that go. None means the whole file.
	Lines []string
	// Instead is what takes the place of each of Lines; empty is nothing.
	Instead []string
	// Kept says why it is not taken out; empty if it is.
	Kept string
	// Idle says that it does nothing unless something else in the list calls it.
	Idle bool
	// Text is the text of the file, and Rest what is left without the lines; nil if
	// the file goes.
	Text, Rest []byte
}

// A lineKind is a kind of file in which lines may be old.
type lineKind struct {
	what  string
	files []string
	// parts says that each of these files is a piece of a configuration, of no use
	// without an active line. Such directories ignore names with a dot and with a
	// tilde at the end (cron(8), sudoers(5)).
	parts bool
	// old says whether a line is old, and what takes its place.
	old func(s *search, line string) (instead string, is bool)
}

// cronRuns says what the old lines of cron do.
const cronRuns = "cron runs the script that asks a web page for the address"

var lineKinds = []lineKind{
	{cronRuns, []string{"/etc/cron.d/*"}, true, (*search).oldCron},
	{cronRuns, []string{"/etc/crontab", "/var/spool/cron/crontabs/root"}, false, (*search).oldCron},
	{"sudo lets OpenVPN's script restart coturn", []string{"/etc/sudoers"}, false, (*search).oldSudo},
	{"sudo lets OpenVPN's script restart coturn", []string{"/etc/sudoers.d/*"}, true, (*search).oldSudo},
	{"OpenVPN runs the script that restarts coturn", vpnFiles, false, (*search).oldDirective},
}

// vpnFiles may call the script, those of servers too.
var vpnFiles = []string{"/etc/openvpn/*.conf", "/etc/openvpn/client/*.conf", "/etc/openvpn/server/*.conf"}

// upScript is where the documentation had the script of OpenVPN put.
const upScript = "/usr/local/bin/openvpn_up_script.sh"

// rotateScript is what the apps bring; administrators had cron run it.
const rotateScript = "Coturn_config_rotate.sh"

// old finds what netwatch replaces.
func (s *search) old() {
	for _, kind := range lineKinds {
		for _, pattern := range kind.files {
			for _, file := range s.tree.Glob(pattern) {
				if base := path.Base(file); !kind.parts || !strings.ContainsAny(base, ".~") {
					s.oldLines(kind, file)
				}
			}
		}
	}
	s.oldScripts()
	s.idleScripts()
}

// oldLines finds the old lines of a file.
func (s *search) oldLines(kind lineKind, file string) {
	o := Old{File: file, What: kind.what, Text: s.read(file), Rest: []byte{}}
	active := false
	for line := range strings.Lines(string(o.Text)) {
		instead, is := kind.old(s, strings.TrimRight(line, "\r\n"))
		if !is {
			o.Rest = append(o.Rest, line...)
			active = active || !idle(line)
			continue
		}
		o.Lines, o.Instead = append(o.Lines, strings.TrimRight(line, "\r\n")), append(o.Instead, instead)
		if instead != "" {
			o.Rest = append(o.Rest, strings.Replace(line, strings.TrimRight(line, "\r\n"), instead, 1)...)
		}
	}
	if kind.parts && !active {
		o.Rest = nil
	}
	if len(o.Lines) > 0 {
		s.Old = append(s.Old, o)
	}
}

var assignment = netwatch.Pattern(`^[A-Za-z_]\w*\s*=`)

// idle says whether a line of cron or sudo does nothing.
func idle(line string) bool {
	line = strings.TrimSpace(line)
	comment := strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#include")
	return line == "" || comment || assignment().MatchString(line)
}

// A line of cron: five fields or an @word, maybe a user, maybe a shell, the script.
var cronLine = netwatch.Pattern(`^\s*(?:@[a-z]+|[^\s#]\S*(?:\s+\S+){4})\s+(?:[a-z_][\w-]*\s+)?` +
	`(?:(?:/usr)?(?:/bin/)?(?:ba)?sh\s+)?` +
	`(/\S+)/` + regexp.QuoteMeta(rotateScript) + `\s*;?\s*(?:>.*)?$`)

// oldCron finds lines that run the script of an app whose coturn was found. Another
// app may have a script of the same name.
func (s *search) oldCron(line string) (string, bool) {
	m := cronLine().FindStringSubmatch(line)
	return "", m != nil && s.isApp(strings.TrimPrefix(path.Base(m[1]), "matrix-"))
}

func (s *search) isApp(name string) bool {
	return slices.ContainsFunc(s.Turns, func(t Turn) bool { return t.App == name })
}

// A line of sudo: a user, all hosts, maybe as whom, and the one command.
var sudoLine = netwatch.Pattern(`^\s*[^\s#]\S*\s+ALL\s*=\s*(?:\([^)]*\)\s*)?NOPASSWD:\s*` +
	`(?:/usr)?/bin/systemctl\s+restart\s+(\S+)\s*$`)

func (s *search) oldSudo(line string) (string, bool) {
	m := sudoLine().FindStringSubmatch(line)
	return "", m != nil && s.isTurn(m[1])
}

// isTurn says whether a unit is that of a coturn that was found, by any name that
// YunoHost had for it.
func (s *search) isTurn(name string) bool {
	name = strings.TrimSuffix(name, ".service")
	return slices.ContainsFunc(s.Turns, func(t Turn) bool {
		return name+".service" == t.Unit || t.App != "" && (name == "coturn-"+t.App || name == t.App+"-coturn")
	})
}

// oldDirective finds directives of OpenVPN that call the script.
func (s *search) oldDirective(line string) (instead string, is bool) {
	key, value := directive(line)
	if !slices.Contains(scriptKeys, key) || value != upScript {
		return "", false
	}
	if s.tree.Has(upScript) && !s.restartsOnly(s.read(upScript)) {
		return "", false
	}
	// With four tasks the hook stays below the limit that Debian's units set
	// (measured).
	return key + ` "` + s.program + " hook openvpn\"\nsetenv GOMAXPROCS 1", true
}

// oldScripts finds scripts that OpenVPN runs and that only restart coturn. YunoHost's
// VPN client runs all scripts in two directories: there our hook takes the place of
// the old script.
func (s *search) oldScripts() {
	files := append([]string{upScript}, s.tree.Glob("/etc/openvpn/scripts/route-up.d/*")...)
	for _, file := range append(files, s.tree.Glob("/etc/openvpn/scripts/route-down.d/*")...) {
		text := s.read(file)
		o := Old{
			File: file, What: "the script restarts coturn when OpenVPN has changed something",
			Text: text, Idle: file == upScript,
		}
		switch {
		case !s.restarts(text):
			continue
		case !s.restartsOnly(text):
			o.Kept = "it does more than restart coturn: take that out of it by hand"
		case file == upScript:
			o.Kept = s.callers(file)
		default:
			o.instead("#!/bin/sh\nGOMAXPROCS=1 " + s.program + " hook openvpn || :\n")
		}
		s.Old = append(s.Old, o)
	}
}

// instead replaces the whole text by another.
func (o *Old) instead(text string) {
	o.Lines, o.Instead = []string{strings.TrimSpace(string(o.Text))}, []string{strings.TrimSpace(text)}
	o.Rest = []byte(text)
}

// callers names the file of OpenVPN that calls a script even when the old lines are
// gone: OpenVPN does not start if it is to call a script that is missing (measured).
func (s *search) callers(script string) string {
	for _, pattern := range vpnFiles {
		for _, file := range s.tree.Glob(pattern) {
			text := s.read(file)
			if i := slices.IndexFunc(s.Old, func(o Old) bool { return o.File == file }); i >= 0 {
				text = s.Old[i].Rest
			}
			for line := range strings.Lines(string(text)) {
				if !idle(line) && strings.Contains(line, script) {
					return file + " calls it in another way than was documented: change that by hand first"
				}
			}
		}
	}
	return ""
}

// A command that restarts a unit, as scripts have it.
var restartCommand = netwatch.Pattern(`^(?:(?:/usr/bin/)?sudo\s+(?:-n\s+)?)?` +
	`(?:(?:/usr)?/bin/)?systemctl\s+restart\s+(\S+?)\s*[;&]?$`)

// harmless fits the other commands that such a script may have.
var harmless = netwatch.Pattern(`^(?:|#.*|\(|\)\s*&?|exit(?: 0)?|sleep [0-9.]+)$`)

// restarts says whether a script restarts a coturn that was found.
func (s *search) restarts(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if m := restartCommand().FindStringSubmatch(strings.TrimSpace(line)); m != nil && s.isTurn(m[1]) {
			return true
		}
	}
	return false
}

// restartsOnly says whether a script restarts a coturn that was found, and does
// nothing else.
func (s *search) restartsOnly(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		m := restartCommand().FindStringSubmatch(line)
		if !harmless().MatchString(line) && (m == nil || !s.isTurn(m[1])) {
			return false
		}
	}
	return s.restarts(text)
}

// idleScripts finds the scripts that the apps bring.
func (s *search) idleScripts() {
	for _, pattern := range []string{"/var/www/*/", "/opt/yunohost/*/"} {
		for _, file := range s.tree.Glob(pattern + rotateScript) {
			if s.isApp(strings.TrimPrefix(path.Base(path.Dir(file)), "matrix-")) {
				s.Old = append(s.Old, Old{
					File: file, What: "the script asks a web page for the address", Idle: true,
					Kept: "it is part of the app, whose upgrade needs it; once cron does not run it, it does nothing",
				})
			}
		}
	}
}
