// Package config turns netwatch.toml into sources and rules, or into all the mistakes
// in it at once, each with its line and column. It runs nothing.
//
// Data flows one way: text, tree (tree.go), typed values (decode.go), sources and
// rules (source.go, rule.go). What is wrong on the way goes into one report
// (mistake.go), and the reading goes on.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/actions"
	"netwatch/hooks"
	"netwatch/servers"
	"netwatch/sources"
)

// DefaultFile is where the configuration is unless another file is named.
const DefaultFile = "/etc/netwatch/netwatch.toml"

// maxSize is the size in bytes of the largest configuration. A larger file is some
// other file.
const maxSize = 1 << 20

// A Config is a configuration without a mistake.
type Config struct {
	// File is the name of the file it was read from.
	File string
	// Daemon is [daemon].
	Daemon Daemon
	// Sources are all [source.NAME], in the order of the file.
	Sources []Source
	// Rules are all [[rule]], in the order of the file, each with a unique name.
	Rules []*hooks.Rule
	// rewrites are what the rules rewrite, found once: the files are looked into at each poll.
	rewrites []servers.Target
}

// maxServed is the size in bytes of the largest configuration of a server that is read;
// they are some kilobytes.
const maxServed = 4 << 20

// Bound are the addresses of this machine that the files which rules rewrite name to
// listen at or to relay from, as far as this process may read them now.
func (c *Config) Bound() []netip.Addr {
	bound := func(s servers.Server) func([]byte) []netip.Addr { return s.Bound }
	all, _ := c.named(netwatch.ReadRegular, bound) // As far as it can
	return all
}

// Relays are those of them that the servers relay from. It is an error if a file cannot
// be read, or is empty, as one is for an instant that is being written.
func (c *Config) Relays() ([]netip.Addr, error) { return c.RelaysBy(netwatch.ReadRegular) }

// RelaysBy is Relays with another way to read a file, of so many bytes at most.
func (c *Config) RelaysBy(read func(file string, most int64) ([]byte, error)) ([]netip.Addr, error) {
	return c.named(read, func(s servers.Server) func([]byte) []netip.Addr { return s.Relays })
}

// named are the addresses that one of the functions of each server finds in its file.
func (c *Config) named(
	read func(file string, most int64) ([]byte, error), by func(servers.Server) func(conf []byte) []netip.Addr,
) (all []netip.Addr, err error) {
	for _, target := range c.rewrites {
		server, unknown := servers.Named(target.Server)
		if unknown != nil || by(server) == nil {
			continue
		}
		conf, unreadable := read(target.File, maxServed)
		if unreadable == nil && len(conf) == 0 {
			unreadable = fmt.Errorf("%s is empty", target.File)
		}
		err = errors.Join(err, unreadable)
		all = append(all, by(server)(conf)...)
	}
	return all, err
}

// Tells says whether other machines are told, by any source.
func (c *Config) Tells() bool {
	return slices.ContainsFunc(c.Sources, func(s Source) bool {
		_, tells := s.Settings.(sources.Telling)
		return tells
	})
}

// Needs are what the steps of all rules need, each place to rewrite once, as the first
// of its steps says.
func (c *Config) Needs() (all actions.Needs) {
	var steps []netwatch.Step
	for _, rule := range c.Rules {
		steps = append(steps, rule.Do...)
	}
	all = actions.NeedsOf(steps...)
	seen, once := map[string]bool{}, all.Rewrites[:0]
	for _, target := range all.Rewrites {
		place := target.File + "\x00" + target.Key()
		if !seen[place] {
			once = append(once, target)
		}
		seen[place] = true
	}
	all.Rewrites = once
	return all
}

// A Source is one [source.NAME].
type Source struct {
	// Name is the NAME in the heading of the section.
	Name string
	// Kind is the name of one of sources.Kinds.
	Kind string
	// Settings are the keys of the section, checked.
	Settings sources.Settings
}

// A Daemon is [daemon].
type Daemon struct {
	// Socket is the unix socket that the daemon listens on.
	Socket netwatch.Path `toml:"socket"`
	// State is the directory for what must survive a restart.
	State netwatch.Path `toml:"state"`
	// Log is the least important level that is logged.
	Log Level `toml:"log"`
	// SMTP is the mail server that mail steps give their mail to.
	SMTP MailServer `toml:"smtp"`
}

// defaultDaemon is what [daemon] is if the configuration does not have it.
var defaultDaemon = Daemon{
	Socket: "/run/netwatch/netwatch.sock",
	State:  "/var/lib/netwatch",
	Log:    Level(zerolog.InfoLevel),
	SMTP:   "localhost:25",
}

// maxSocket is how many bytes the path of the socket may have. A unix socket may have
// 107 (unix(7): sun_path has 108 with the final zero byte), and there is one beside
// it with ".source" at its end.
const maxSocket = 107 - len(".source")

// Load reads the configuration file. If something is wrong in the text, the error is
// Mistakes. If the file cannot be read, or others may write it, it is a plain error
// with a hint.
func Load(file string, env actions.Env) (*Config, error) {
	text, err := Read(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(file, text, env)
}

// Parse reads a configuration from its text; file is only its name. Its errors are
// always Mistakes, sorted by position.
func Parse(file string, text []byte, env actions.Env) (*Config, error) {
	r := &reader{kinds: sources.Kinds, verbs: actions.Verbs, env: env}
	return r.read(file, text)
}

// Read reads the text of a configuration that nobody else could have written.
func Read(file string) ([]byte, error) {
	f, info, err := netwatch.OpenRegular(file, 0)
	if err != nil {
		return nil, netwatch.WithHint(err, openHint(file, err))
	}
	defer func() { _ = f.Close() }()
	if err := checkFile(file, info); err != nil {
		return nil, err
	}
	text, err := netwatch.ReadWhole(f, maxSize)
	if err != nil {
		err = netwatch.WithHint(fmt.Errorf("%s: %w", file, err), "name the right file with --config")
	}
	return text, err
}

func openHint(file string, err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "write one (netwatch.toml(5) says how), or name another file with --config"
	case errors.Is(err, netwatch.ErrNotRegular):
		return "name a file with --config"
	}
	return "let the user who runs netwatch read it, as in `chmod 644 " + netwatch.ShellPath(file) + "`"
}

// checkFile refuses a file by which somebody else than root and the user who runs
// netwatch could have programs run.
func checkFile(file string, info os.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return netwatch.WithHint(fmt.Errorf("%s can be written by every user, who could have any program run", file),
			"chmod o-w "+netwatch.ShellPath(file))
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return nil
	case s.Uid != 0 && int(s.Uid) != os.Geteuid():
		return netwatch.WithHint(fmt.Errorf("%s belongs to user %d, who could have any program run", file, s.Uid),
			"see what is in it, then chown root "+netwatch.ShellPath(file))
	case info.Mode().Perm()&0o020 != 0 && s.Gid != 0 && int(s.Gid) != os.Getegid():
		return netwatch.WithHint(fmt.Errorf("%s can be written by group %d, who could have any program run", file, s.Gid),
			"chmod g-w "+netwatch.ShellPath(file))
	}
	return nil
}

// A reader reads one configuration.
type reader struct {
	*report
	kinds []sources.Kind
	verbs []actions.Verb
	env   actions.Env
	// sections are the source sections by name, also those that have mistakes.
	sections map[string]section
	// heardOfPeers says that the present rule is on what other machines say.
	heardOfPeers bool
}

func (r *reader) read(file string, text []byte) (*Config, error) {
	// A byte order mark is what some editors begin a file with; TOML 1.1 lets
	// it pass, and columns are counted after it.
	text = bytes.TrimPrefix(bytes.Clone(text), []byte("\xef\xbb\xbf"))
	r.report = newReport(file, text)
	c := &Config{File: file, Daemon: defaultDaemon}
	root := r.tree(text)
	r.top(root)
	r.daemon(root.member("daemon"), &c.Daemon)
	r.env.SMTP, r.env.Config = string(c.Daemon.SMTP), file
	c.Sources = r.sources(root.member("source"))
	c.Rules = r.rules(root)
	if err := r.result(); err != nil {
		return nil, err
	}
	c.rewrites = c.Needs().Rewrites
	return c, nil
}

// top reports what stands at the top of the file and is none of the sections.
func (r *reader) top(root *node) {
	known := []string{"daemon", "source", "rule"}
	for _, name := range root.names {
		n := root.members[name]
		switch {
		case slices.Contains(known, name):
		case n.form == table || n.sections || nearest(name, known) != "":
			r.atKey(n, unknown("section", name, known))
		default:
			r.atKey(n, errors.New("is in no section: there are [daemon], [source.NAME] and [[rule]]"))
		}
	}
}

func (r *reader) daemon(n *node, d *Daemon) {
	if n == nil {
		return
	}
	r.decode(n, d)
	if socket := n.member("socket"); len(d.Socket) > maxSocket && socket != nil {
		r.at(socket, fmt.Errorf("has %d bytes: the path of this socket may have %d", len(d.Socket), maxSocket))
	}
}

// A Level is how important a line of the log must be: debug, info, warn, error.
type Level zerolog.Level

// levels are the levels by which a log can be limited, the least important first.
var levels = []zerolog.Level{zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel}

// UnmarshalText takes "debug", "info", "warn" or "error".
func (l *Level) UnmarshalText(text []byte) error {
	for _, known := range levels {
		if known.String() == string(text) {
			*l = Level(known)
			return nil
		}
	}
	return fmt.Errorf("%q is not a level: debug, info, warn or error", text)
}

// A MailServer is HOST:PORT of a mail server.
type MailServer string

// UnmarshalText takes HOST or HOST:PORT; the port is 25 unless given.
func (m *MailServer) UnmarshalText(text []byte) error {
	server, ok := netwatch.HostPort(string(text), "25")
	if !ok {
		return fmt.Errorf("%q is not a mail server: host or host:port, as in \"localhost:25\"", text)
	}
	*m = MailServer(server)
	return nil
}
