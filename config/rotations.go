package config

import (
	"net/netip"
	"slices"

	"netwatch/actions"
)

// Rotations are the steps that rewrite coturn's configurations, one a file.
func (c *Config) Rotations() (all []*actions.Rotation) {
	for _, rule := range c.Rules {
		for _, step := range rule.Do {
			r, ok := step.Action.(*actions.Rotation)
			if ok && !slices.ContainsFunc(all, func(o *actions.Rotation) bool { return o.File == r.File }) {
				all = append(all, r)
			}
		}
	}
	return all
}

// Bound are the addresses of this machine that the files of all rotations name.
func (c *Config) Bound() (all []netip.Addr) {
	for _, r := range c.Rotations() {
		all = append(all, r.Bound()...)
	}
	return all
}
