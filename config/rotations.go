package config

import (
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
