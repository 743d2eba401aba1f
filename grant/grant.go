// Package grant gives the daemon's user what a configuration needs, and nothing more:
// rules for polkit, what the helper may rewrite, and files that he may read. All that
// the configuration does not need is taken back.
package grant

import (
	"context"
	"fmt"
	"net/netip"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/sources"
)

// Where the files lie that grant something.
const (
	polkitFile = "/etc/polkit-1/rules.d/50-netwatch.rules"
	dropInFile = "/etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf"
)

// Needs are what the daemon's user must be able to do, and root alone could give.
// The zero value needs nothing: granting it takes everything back.
type Needs struct {
	units     []unitGrant
	rotations []*actions.Rotation
	// accept are the prefixes that some source takes for public.
	accept []netip.Prefix
	// reads are files that he is to read, and secrets those of which it is only
	// said that he cannot.
	reads   []access.Need
	secrets []netwatch.Path
}

// Load is what a configuration without mistakes needs. The rules and the helper's
// command line are made from the same file at the same time, so that a configuration
// that somebody is in the middle of changing neither gives nor takes anything.
func Load(file string) (Needs, error) {
	cfg, err := config.Load(file, actions.Env{})
	if err != nil {
		return Needs{}, err
	}
	return needsOf(cfg), nil
}

// needsOf collects what the sources and the steps need. Certificates are not among
// what is to be read: without their private keys they tell nothing, and these are not
// to be opened. A directory on the way to a key may be all that keeps it closed, too.
func needsOf(cfg *config.Config) (n Needs) {
	for _, s := range cfg.Sources {
		switch s := s.Settings.(type) {
		case *sources.File:
			for _, file := range s.Files {
				n.reads = append(n.reads, access.Need{File: string(file), Watch: true})
			}
		case *sources.STUN:
			n.accept = append(n.accept, s.Accept...)
		}
	}
	for _, rule := range cfg.Rules {
		for _, step := range rule.Do {
			n.add(step.Action)
		}
	}
	return n
}

// add adds what a step needs.
func (n *Needs) add(a netwatch.Action) {
	if unit, verb, ok := actions.UnitNeed(a); ok {
		n.units = append(n.units, unitGrant{unit, verb})
	}
	if r, ok := a.(*actions.Rotation); ok {
		n.rotations = append(n.rotations, r)
	}
	files, secrets := actions.FileNeeds(a)
	for _, file := range files {
		n.reads = append(n.reads, access.Need{File: string(file)})
	}
	n.secrets = append(n.secrets, secrets...)
}

// Files are the files that grant the rules of polkit's and the helper's rights. polkitd
// notices when they change, and systemd reads the drop-in of each helper that it starts
// (measured with 252): nothing has to be told to them.
func (n Needs) Files(ctx context.Context) ([]File, error) {
	units, err := canonical(ctx, n.units)
	if err != nil {
		return nil, err
	}
	rotations := make([]rotationGrant, len(n.rotations))
	for i, r := range n.rotations {
		if rotations[i], err = rotationNeed(ctx, r); err != nil {
			return nil, err
		}
	}
	dropIn, err := helperDropIn(rotations, n.accept)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", dropInFile, err)
	}
	return []File{{polkitFile, polkitRules(units)}, {dropInFile, dropIn}}, nil
}
