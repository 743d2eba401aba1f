package machine

import (
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
	// Domains are the names that callers reach it by, as far as its realm and
	// YunoHost's settings tell.
	Domains []string
}

// debianConf is the file of a coturn that is started without the name of one.
const debianConf = "/etc/turnserver.conf"

// debianUnit is the unit in Debian's package of coturn. It is there even if only the
// program is used.
const debianUnit = "coturn.service"

// turns are the coturns among the units, at most one for each file. Debian's own
// counts only if there is no other, or if it is enabled and somebody has set it up.
func (s *search) turns(all []unit) {
	var found []unit
	for _, u := range all {
		if len(u.words) > 0 && path.Base(u.words[0]) == "turnserver" {
			found = append(found, u)
		}
	}
	for _, u := range found {
		file := turnFile(u)
		debians := u.name == debianUnit && len(found) > 1
		if debians && (!u.enabled || s.nobodys(file)) || !s.tree.Has(file) {
			continue
		}
		rival := func(o unit) bool { return turnFile(o) == file && better(o, u) }
		twin := func(t Turn) bool { return t.File == file }
		if slices.ContainsFunc(found, rival) || slices.ContainsFunc(s.Turns, twin) {
			continue
		}
		s.Turns = append(s.Turns, s.turn(u.name, file))
	}
}

// nobodys says whether nobody has written anything into a configuration by which callers
// could be served: on YunoHost Debian's coturn runs with such a one beside the app's, an
// open relay behind the firewall (measured).
func (s *search) nobodys(file string) bool {
	text := s.read(file)
	return !slices.ContainsFunc([]string{
		"static-auth-secret", "user", "realm", "external-ip", "listening-ip", "relay-ip", "userdb", "psql-userdb",
		"mysql-userdb", "mongo-userdb", "redis-userdb",
	}, func(key string) bool { return servers.Setting(text, key) != "" })
}

func turnFile(u unit) string {
	if file := option(u.words[1:], "-c", "--config"); path.IsAbs(file) {
		return path.Clean(file)
	}
	return debianConf
}

// better says whether a, of two units with the same file, is the one in use: the one
// that starts at boot, or else the one with YunoHost's newer name.
func better(a, b unit) bool {
	if a.enabled != b.enabled {
		return a.enabled
	}
	return strings.HasSuffix(a.name, "-coturn.service") && strings.HasPrefix(b.name, "coturn-")
}

func (s *search) turn(unit, file string) Turn {
	t := Turn{Unit: unit, File: file, App: appOf(unit)}
	text := s.read(file)
	if cert := servers.Setting(text, "cert"); path.IsAbs(cert) {
		t.Certificate = s.named(cert, servers.Setting(text, "pkey"))
		t.TLS = tlsPort(text)
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
