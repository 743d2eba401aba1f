package machine

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// A Server is one that is not coturn: a unit, and the file that the unit starts it with.
type Server struct {
	servers.Server
	// Unit runs it.
	Unit string
	// File is its configuration, and Text what that says; nil where it may not be read.
	File string
	Text []byte
	// Version is that of its program, as far as files tell it; else empty.
	Version string
	// Certificate is the one that it serves, if it serves one.
	Certificate Certificate
	// Refused is why its file could not be given an address.
	Refused error
	// Flag is the option of its command line that goes before its file.
	Flag Flag
	// Passing says that the unit will not be there after the next boot.
	Passing bool
}

// servers are the other servers among the units, at most one for each file. Those that
// neither run nor start at boot are nobody's, as the twin unit of Debian's rtpengine.
func (s *search) servers() {
	for _, server := range servers.All {
		if !server.IsFound() {
			continue
		}
		all := s.starters(server)
		for _, u := range all {
			rival := func(o starter) bool { return o.file == u.file && better(o, u) }
			twin := func(o Server) bool { return o.Name == server.Name && o.File == u.file }
			if slices.ContainsFunc(all, rival) || slices.ContainsFunc(s.Servers, twin) {
				continue
			}
			if found := s.server(server, u); !errors.Is(found.Refused, servers.ErrNoRelays) {
				s.Servers = append(s.Servers, found)
			}
		}
	}
}

// starters are the units that start a server with a file.
func (s *search) starters(server servers.Server) (all []starter) {
	for _, u := range s.all {
		words := u.run(starts(server))
		switch {
		case s.asked && !u.Enabled && !u.Running:
			continue
		case words == nil && u.err != nil && callsOne(u.Commands, server.Start.Programs):
			s.notSeen(u, u.err)
		}
		if words == nil {
			continue
		}
		file, err := s.serverFile(server, u)
		switch {
		case err != nil:
		case u.Root != "":
			err = fmt.Errorf("a %s whose / is %s", server.Name, u.Root)
		case netwatch.CheckPlain(file) != nil: // It goes into netwatch.toml
			err = netwatch.CheckPlain(file)
		case !s.tree.Has(file):
			err = fmt.Errorf("a %s whose file %s is not there", server.Name, file)
		default:
			err = s.byRoot(u, file, func(u unit) (string, error) { return s.serverFile(server, u) })
		}
		if err != nil {
			s.notSeen(u, err)
			continue
		}
		all = append(all, starter{u, file})
	}
	return all
}

// starts says whether a command starts a server.
func starts(server servers.Server) func(words []string) bool {
	return func(words []string) bool {
		return slices.ContainsFunc(server.Start.Programs, func(name string) bool { return isProgram(words, name) })
	}
}

// serverFile is the file that a unit starts a server with.
func (s *search) serverFile(server servers.Server, u unit) (string, error) {
	words := u.run(starts(server))
	if words == nil {
		return "", errors.New("no command of it starts " + server.Name)
	}
	vars, err := s.variables(u.Service)
	if err != nil {
		return "", err
	}
	return server.Start.File(words, vars, s.tree.Has)
}

// programs are what the servers' programs are called.
var programs = func() (all []string) {
	for _, server := range servers.All {
		all = append(all, server.Start.Programs...)
	}
	return all
}()

// callsOne says whether a word of the commands, or of a shell's line in them, is one of
// these programs.
func callsOne(commands []systemd.Command, programs []string) bool {
	return slices.ContainsFunc(commands, func(c systemd.Command) bool {
		return slices.ContainsFunc(strings.Fields(strings.Join(c.Words, " ")), func(word string) bool {
			return slices.Contains(programs, path.Base(strings.Trim(word, `"'`)))
		})
	})
}

func (s *search) server(server servers.Server, u starter) Server {
	found := Server{Server: server, Unit: u.Name, File: u.file, Passing: u.Passing}
	words := u.run(starts(server))
	found.Version = s.version(server, words[0])
	if found.Text = s.read(u.file); found.Text != nil {
		found.Refused = server.Takes(found.Text, s.own)
	}
	if server.Certificate != nil {
		if cert, key := server.Certificate(found.Text); cert != "" {
			found.Certificate = s.named(cert, key)
		}
	}
	if server.Flag != "" {
		found.Flag = s.flag(u.unit, server.Flag, words)
	}
	return found
}

// own is the address of this machine by which packets go out, if this is the machine that
// is looked at.
func (s *search) own(family netwatch.Family) netip.Addr {
	if !s.asked {
		return netip.Addr{}
	}
	return netwatch.OwnAddress(family, netip.Addr{})
}
