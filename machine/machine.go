// Package machine looks what there is on the machine that netwatch is to work on:
// coturns, Synapses, clients of OpenVPN, certificates and what netwatch replaces.
// It changes nothing. One file has one kind of thing; all names lie in a Tree
// (tree.go), so that a copy of a machine can be looked at as well.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"netwatch"
)

// A Machine says what there is on it that netwatch can keep right, and what
// netwatch replaces.
type Machine struct {
	// Turns are the coturns, by their units.
	Turns []Turn
	// Synapses are the Synapses, by their units.
	Synapses []Synapse
	// VPNs are the OpenVPN clients, by their files.
	VPNs []VPN
	// Unused are certificates that nothing found here serves.
	Unused []Certificate
	// Old are the scripts and lines that netwatch replaces.
	Old []Old
	// Unread are the files that could not be looked into.
	Unread []error
}

// Find looks at the machine. program is where netwatch is to be called from.
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

// A search is a Find on its way.
type search struct {
	Machine
	tree    Tree
	program string
}

// read is a file, and nil if there is none; that it may not be read is noted.
func (s *search) read(name string) []byte {
	text, err := s.tree.Read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Unread = append(s.Unread, fmt.Errorf("looking into %s: %w", name, netwatch.WithoutPath(err)))
	}
	return text
}

// setting is the value of a key at the left margin of a YAML file that is as flat
// as YunoHost's settings and the upper keys of Synapse; empty if there is none.
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
