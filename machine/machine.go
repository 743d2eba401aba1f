// Package machine finds out what is installed on the machine: coturns and other servers,
// Synapses, clients of OpenVPN, certificates, and what netwatch replaces. It changes nothing,
// and knows no configuration of netwatch. Each kind of thing has its file. All names
// are in a Tree (tree.go), so that it can look at a copy of a machine too.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"time"

	"netwatch"
	"netwatch/systemd"
)

// A Machine is what is on a machine that netwatch can keep right or replaces.
type Machine struct {
	// Turns are the coturns, by their units.
	Turns []Turn
	// Idle are coturns that nobody can call by as they are.
	Idle []Idle
	// Contained are servers in containers; those that a unit can restart are among Turns and
	// Servers too.
	Contained []Container
	// Servers are the other servers whose configuration holds our address, by their units.
	Servers []Server
	// Synapses are the Synapses, by their units.
	Synapses []Synapse
	// VPNs are the OpenVPN clients, by their files.
	VPNs []VPN
	// Unused are certificates that nothing found here serves.
	Unused []Certificate
	// Router is the gateway that says its address when it is asked, if there is one. Who
	// asks it is who looks: Find asks nobody.
	Router netip.Addr
	// Old are the scripts and lines that netwatch replaces.
	Old []Old
	// Unread are the files that could not be looked into.
	Unread []error
}

// askTime is how long systemd may take to say what it runs.
const askTime = 4 * time.Second

// Look looks at the machine that this is, whose systemd says what it runs, or at a copy
// of one. program is the path by which netwatch is to be called.
func Look(ctx context.Context, tree Tree, program string) Machine {
	if path.Clean(string(tree)) != "/" || !systemd.Boots() {
		return Find(tree, program)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s := &search{tree: tree, program: program}
	s.processes()
	services, err := systemd.Services(ctx, s.wanted)
	if err != nil {
		s.Unread = []error{fmt.Errorf("%w; so what follows is by the files of units alone", err)}
		return s.find(s.installed())
	}
	s.asked = true
	return s.find(services)
}

// Find looks at a machine whose systemd cannot be asked, as at a copy of one: by the
// files of its units.
func Find(tree Tree, program string) Machine {
	s := &search{tree: tree, program: program}
	return s.find(s.installed())
}

func (s *search) find(services []systemd.Service) Machine {
	s.all = s.units(services)
	s.turns()
	s.strangers()
	s.servers()
	s.synapses()
	s.vpns()
	s.unused()
	s.old()
	return s.Machine
}

// A search is a Find that is going on.
type search struct {
	Machine
	tree    Tree
	program string
	// asked says that systemd has told what runs.
	asked bool
	// relays are the processes of coturn that no unit's command has told of yet.
	relays []process
	// others are those of other servers.
	others []process
	// monitors are those by which podman watches over containers.
	monitors []process
	// clients are those of Docker, Compose and Podman that units run and wait for.
	clients []process
	// all are the units, and noted those of which it was said that they are not seen.
	all   []unit
	noted []string
}

// read reads a file. It returns nil if there is none, and notes it if the file may
// not be read.
func (s *search) read(name string) []byte {
	text, err := s.tree.Read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Unread = append(s.Unread, fmt.Errorf("looking into %s: %w", name, netwatch.WithoutPath(err)))
	}
	return text
}

// setting is the value of a key at the left margin of a YAML file, or empty. It is
// enough for flat files like YunoHost's settings, and for the top keys of Synapse.
func setting(text []byte, key string) string {
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, key+":")
		if !ok || value != "" && !strings.ContainsAny(value[:1], " \t\r\n") {
			continue
		}
		value, _, _ = strings.Cut(value, " #")
		return strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return ""
}
