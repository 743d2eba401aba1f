package machine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/servers"
)

// A Turn is a coturn: a unit, and the file that the unit starts it with.
type Turn struct {
	// Unit runs it.
	Unit string
	// File is its configuration.
	File string
	// App is the name of the app of YunoHost that it is part of, as synapse__2, or
	// empty.
	App string
	// Certificate is the one that its file names, and TLS the port at which it serves
	// that; 0 if none is.
	Certificate Certificate
	TLS         uint16
	// Renews is the verb by which its unit has it read a renewed certificate, where no signal
	// to the unit would reach it, as in a container; empty is SIGUSR2.
	Renews string
	// Domains are the names that callers reach it by, as far as its realm and
	// YunoHost's settings tell.
	Domains []string
	// Passing says that the unit will not be there after the next boot.
	Passing bool
	// Unproven is why it cannot be asked as its callers do.
	Unproven error
	// Elsewhere says that it has a network of its own, as in a container: this machine's
	// addresses say nothing about it.
	Elsewhere bool
	// Auto says that its pair is this machine's, which nothing tells the daemon of a container:
	// so it is to be said in the step.
	Auto bool
}

// ErrWaysIn says that nobody here knows by which ports a container is reached.
var ErrWaysIn = errors.New("its container has a network of its own, and which ports lead into it is not seen from here")

// debianConf is the file of a coturn that is started without the name of one.
const debianConf = "/etc/turnserver.conf"

// debianUnit is the unit in Debian's package of coturn. It is there even if only the
// program is used.
const debianUnit = "coturn.service"

// An Idle is a coturn that is left alone, and why.
type Idle struct {
	Turn
	// Why says what it lacks, and Remedy what to do first where it is wanted.
	Why, Remedy string
}

// turns are the coturns among the units, at most one for each file.
func (s *search) turns() {
	found := s.turnUnits()
	for _, u := range found {
		rival := func(o starter) bool { return o.file == u.file && better(o, u) }
		twin := func(t Turn) bool { return t.File == u.file }
		if slices.ContainsFunc(found, rival) || slices.ContainsFunc(s.Turns, twin) {
			continue
		}
		t := s.turn(u.Name, u.file)
		t.Passing = u.Passing
		why, remedy := s.idle(u, len(found) > 1)
		switch {
		case why == "":
			s.Turns = append(s.Turns, t)
		case u.Name != debianUnit || len(found) == 1: // Else it is not worth a word
			s.Idle = append(s.Idle, Idle{t, why, remedy})
		}
	}
}

// idle says why nobody can call by a coturn, or nothing. Files do not tell what runs:
// where systemd is not asked, only Debian's counts as idle that does not start at boot
// and is beside another.
func (s *search) idle(u starter, beside bool) (why, remedy string) {
	name := netwatch.ShellPath(u.Name)
	switch {
	case !u.Enabled && !u.Running && (s.asked || beside && u.Name == debianUnit):
		return "it neither runs nor starts at boot", "systemctl enable --now " + name
	case u.Name != debianUnit:
		return "", ""
	}
	text, err := s.tree.Read(u.file)
	switch {
	case err != nil:
		return "whether anybody has set it up may not be read", "run netwatch init as root"
	case nobodys(text):
		return "nobody has set it up: anyone may relay through it",
			"write realm= and static-auth-secret= into " + u.file + ", and systemctl restart " + name
	}
	return "", ""
}

// A starter is a unit that starts a server with a file.
type starter struct {
	unit
	file string
}

// turnUnits are the units that start coturn. What a unit's command does not tell, its
// main process does while it runs.
func (s *search) turnUnits() (found []starter) {
	for _, u := range s.all {
		words := u.run(isTurn)
		if words == nil {
			words = s.turnProcess(u)
		}
		switch file, err := turnFile(words, s.tree.Has); {
		case netwatch.CheckPlain(file) != nil: // It goes into netwatch.toml
			s.notSeen(u, netwatch.CheckPlain(file))
		case words == nil && u.err != nil && mentions(u.Commands, "turnserver"):
			s.notSeen(u, u.err)
		case words == nil:
		case err != nil:
			s.notSeen(u, err)
		case u.Root != "":
			s.notSeen(u, fmt.Errorf("a coturn whose / is %s", u.Root))
		case u.Directory != "" && !slices.Contains(words, file):
			s.notSeen(u, fmt.Errorf("a coturn that looks for its file from %s on: have -c name its full path", u.Directory))
		case !s.tree.Has(file):
			if u.Enabled || u.Running {
				s.notSeen(u, fmt.Errorf("a coturn whose file %s is not there: anyone may relay through it", file))
			}
		default:
			if err := s.turnByRoot(u, file); err != nil {
				s.notSeen(u, err)
				continue
			}
			found = append(found, starter{u, file})
		}
	}
	return found
}

func isTurn(words []string) bool { return isProgram(words, "turnserver") }

// nobodys says whether nobody has written anything into a configuration by which callers
// could be served: on YunoHost Debian's coturn runs with such a one beside the app's, an
// open relay behind the firewall (measured).
func nobodys(text []byte) bool {
	return !slices.ContainsFunc([]string{
		"static-auth-secret", "user", "realm", "external-ip", "listening-ip", "relay-ip", "userdb", "psql-userdb",
		"mysql-userdb", "mongo-userdb", "redis-userdb",
	}, func(key string) bool { return servers.Setting(text, key) != "" })
}

// turnDirs are where coturn looks for its file unless it is given a full path, in their
// order, with / as the directory in which it is started (seen with 4.6.1).
var turnDirs = []string{
	"/", "/turnserver", "/coturn", "/etc", "/etc/turnserver", "/etc/coturn", "/usr/local/etc", "/usr/local/etc/turnserver",
	"/usr/local/etc/coturn", "/usr/etc", "/usr/etc/turnserver", "/usr/etc/coturn",
}

// turnFile is the file that coturn is started with: the word behind the last -c. Of -n,
// of -cFILE and of --config it was seen what they come to (4.6.1). has says whether a
// file is there for it.
func turnFile(words []string, has func(name string) bool) (string, error) {
	file := path.Base(debianConf)
	for i, word := range words {
		switch {
		case word == "-n":
			return "", errors.New("a coturn without a file, for which netwatch can do nothing: have -c name one instead of -n")
		case strings.HasPrefix(word, "--config"):
			return "", errors.New("coturn has no --config, and does not start with it: write -c")
		case word == "-c" && i+1 < len(words):
			file = words[i+1]
		}
	}
	if path.IsAbs(file) {
		return path.Clean(file), nil
	}
	for _, dir := range turnDirs {
		if name := path.Join(dir, file); has(name) {
			return name, nil
		}
	}
	return path.Join(path.Dir(debianConf), file), nil
}

// better says whether a, of two units with the same file, is the one in use: the one
// that runs, or starts at boot, or else the one with YunoHost's newer name.
func better(a, b starter) bool {
	switch {
	case a.Running != b.Running:
		return a.Running
	case a.Enabled != b.Enabled:
		return a.Enabled
	}
	return strings.HasSuffix(a.Name, "-coturn.service") && strings.HasPrefix(b.Name, "coturn-")
}

func (s *search) turn(unit, file string) Turn {
	t := Turn{Unit: unit, File: file, App: appOf(unit)}
	text := s.read(file)
	if cert := servers.Setting(text, "cert"); path.IsAbs(cert) {
		t.Certificate = s.named(cert, servers.Setting(text, "pkey"))
		t.TLS = tlsPort(text)
	}
	if coturn, err := servers.Named("coturn"); err == nil {
		t.Unproven = coturn.CheckProof(text)
	}
	settings := "/etc/yunohost/apps/" + t.App + "/settings.yml"
	if t.App != "" && s.tree.Has(settings) {
		t.add(setting(s.read(settings), "domain"))
	}
	t.add(servers.Setting(text, "realm"))
	return t
}

// tlsPort is the port at which a configuration of coturn has callers ask over TLS.
func tlsPort(conf []byte) uint16 {
	coturn, err := servers.Named("coturn")
	if err != nil {
		return 0
	}
	offer, err := coturn.Offer(conf, time.Now())
	if err != nil {
		return 0
	}
	for _, l := range offer.Listeners {
		if l.Over == servers.TLS {
			return l.Port
		}
	}
	return 0
}

// host fits the name of a host. Nothing else that a file says goes into
// netwatch.toml.
var host = netwatch.Pattern(`^[\pL\pN-]+(\.[\pL\pN-]+)+$`)

// add adds a domain if it can be the name of a host.
func (t *Turn) add(domain string) {
	if host().MatchString(domain) && !slices.Contains(t.Domains, domain) {
		t.Domains = append(t.Domains, domain)
	}
}

// appOf is the app whose coturn a unit of YunoHost is: it was called coturn-APP
// before 2024, and is called APP-coturn since.
func appOf(unit string) string {
	stem := strings.TrimSuffix(unit, ".service")
	if app, ok := strings.CutPrefix(stem, "coturn-"); ok {
		return app
	}
	app, ok := strings.CutSuffix(stem, "-coturn")
	if !ok {
		return ""
	}
	return app
}
