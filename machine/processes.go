package machine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"netwatch/servers"
)

// A process is a program that runs.
type process struct {
	pid uint32
	// words are its command line.
	words []string
	// cgroup is where systemd or an engine of containers put it.
	cgroup string
	// server is what it is, if it is one.
	server servers.Server
}

// processes finds those of coturn and of other servers, and those by which podman watches
// over containers. Whoever may not see those of others sees fewer.
func (s *search) processes() {
	for _, file := range s.tree.Glob("/proc/[0-9]*/comm") {
		name, err := s.tree.Read(file)
		if err != nil {
			continue
		}
		server, is := runsServer(strings.TrimSpace(string(name)))
		switch {
		case is && server.Name == "coturn":
			s.relays = append(s.relays, s.process(path.Dir(file), server)...)
		case is:
			s.others = append(s.others, s.process(path.Dir(file), server)...)
		case strings.TrimSpace(string(name)) == "conmon":
			s.monitors = append(s.monitors, s.engine(path.Dir(file))...)
		case slices.Contains([]string{"docker", "docker-compose", "podman"}, strings.TrimSpace(string(name))):
			s.clients = append(s.clients, s.engine(path.Dir(file))...)
		}
	}
}

// maxComm is how much of its program's name the kernel keeps for a process.
const maxComm = 15

// runsServer is the server that a process of this name is.
func runsServer(comm string) (servers.Server, bool) {
	i := slices.IndexFunc(servers.All, func(server servers.Server) bool {
		return server.Name == "coturn" && comm == "turnserver" ||
			slices.ContainsFunc(server.Start.Programs, func(name string) bool { return comm == name[:min(len(name), maxComm)] })
	})
	if i < 0 {
		return servers.Server{}, false
	}
	return servers.All[i], true
}

// process reads a process; none if it has ended meanwhile.
func (s *search) process(dir string, server servers.Server) []process {
	pid, errNumber := strconv.ParseUint(path.Base(dir), 10, 32)
	line, errLine := s.tree.Read(dir + "/cmdline")
	groups, errGroup := s.tree.Read(dir + "/cgroup")
	if errors.Join(errNumber, errLine, errGroup) != nil {
		return nil
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	return []process{{uint32(pid), words, cgroupOf(groups), server}}
}

// cgroupOf is the one in the unified hierarchy, or where that says nothing, in systemd's
// own (cgroups(7)).
func cgroupOf(groups []byte) (found string) {
	for line := range strings.Lines(string(groups)) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(line, ":")
		says := group != "/" && !strings.HasPrefix(group, "/..")
		if controllers == "" && says || controllers == "name=systemd" && found == "" {
			found = group
		}
	}
	return found
}

// unit is the service of this machine's systemd that has the process, or empty. What is
// below the cgroup of a container, the container has made.
func (p process) unit() (name string) {
	for part := range strings.SplitSeq(p.cgroup, "/") {
		if strings.HasPrefix(part, "user@") || strings.HasPrefix(part, "lxc.payload") {
			return ""
		}
		if containerCgroup().MatchString(part) {
			break
		}
		if strings.HasSuffix(part, ".service") && name == "" {
			name = part
		}
	}
	return name
}

// turnProcess is the command line of a unit's main process, if that is coturn.
func (s *search) turnProcess(u unit) []string {
	for _, p := range s.relays {
		if u.MainPID == p.pid && p.unit() == u.Name {
			if _, _, contained := p.container(); !contained {
				return p.words
			}
		}
	}
	return nil
}

// strangers are the processes of coturn that none of the units found here has started:
// in containers, or by whoever it was.
func (s *search) strangers() {
	known := append([]string{debianUnit}, s.noted...)
	for _, t := range s.Turns {
		known = append(known, t.Unit)
	}
	for _, i := range s.Idle {
		known = append(known, i.Unit)
	}
	for _, p := range s.relays {
		if engine, id, ok := p.container(); ok {
			s.contained(p, engine, id)
		} else if !slices.Contains(known, p.unit()) {
			s.Unread = append(s.Unread, fmt.Errorf(
				"looking at process %d, in %s: a coturn, and no command of a unit tells how it is started", p.pid, p.cgroup))
		}
	}
	for _, p := range s.others {
		if engine, id, ok := p.container(); ok {
			s.contained(p, engine, id)
		}
	}
}
