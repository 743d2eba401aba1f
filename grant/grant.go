// Package grant gives the daemon's user what a configuration needs and nothing more:
// rules for polkit, what the helper may rewrite, and files that he may read. It takes
// back everything that the configuration does not need. It is run by root, not by the
// daemon.
package grant

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

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
	units     []actions.UnitNeed
	rotations []rotation
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
// what is to be read. The daemon could make nothing of one without its private key,
// and keys are not opened to it, nor the directories of keys: some keys are protected
// by their directory alone.
func needsOf(cfg *config.Config) (n Needs) {
	for _, s := range cfg.Sources {
		needs := sources.NeedsOf(s.Settings)
		for _, file := range needs.Watches {
			n.reads = append(n.reads, access.Need{File: string(file), Watch: true})
		}
		for _, file := range needs.Reads {
			n.reads = append(n.reads, access.Need{File: string(file)})
		}
		n.accept = append(n.accept, needs.Accepts...)
	}
	for _, rule := range cfg.Rules {
		n.add(actions.NeedsOf(rule.Do...))
	}
	if len(n.reads) > 0 { // What is made anew is to be opened again
		n.units = append(n.units, actions.Reopening)
	}
	return n
}

// add adds what the steps of a rule need.
func (n *Needs) add(rule actions.Needs) {
	n.units = append(n.units, rule.Units...)
	for _, target := range rule.Rewrites {
		r := rotation{target, rule.UnitNames()}
		if !slices.ContainsFunc(n.rotations, func(o rotation) bool { return reflect.DeepEqual(o, r) }) {
			n.rotations = append(n.rotations, r)
		}
	}
	for _, file := range rule.Reads {
		n.reads = append(n.reads, access.Need{File: string(file)})
	}
	n.secrets = append(n.secrets, rule.Secrets...)
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
