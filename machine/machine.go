// Package machine finds out what is installed on the machine: coturns, Synapses,
// clients of OpenVPN, certificates, and what netwatch replaces. It changes nothing,
// and knows no configuration of netwatch. Each kind of thing has its file. All names
// are in a Tree (tree.go), so that it can look at a copy of a machine too.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"netwatch"
)

// A Machine is what is on a machine that netwatch can keep right or replaces.
type Machine struct {
	// Turns are the coturns, by their units.
	Turns []Turn
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

// Find looks at the machine. program is the path by which netwatch is to be called.
func Find(tree Tree, program string) Machine {
	s := &search{tree: tree, program: program}
	all := s.units()
	s.turns(all)
	s.synapses(all)
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
