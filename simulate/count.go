package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Count is what happened in worlds.
type Count struct {
	// Polls, Lives and Restarts are how many questions servers got, how often the daemon was
	// started, and how often it had the unit started.
	Polls, Lives, Restarts int
	// Router is how many the router got.
	Router int
	// Befallen are the stimuli and faults, by kind.
	Befallen map[string]int
}

// Add adds another.
func (c *Count) Add(o Count) {
	c.Polls, c.Lives, c.Restarts = c.Polls+o.Polls, c.Lives+o.Lives, c.Restarts+o.Restarts
	c.Router += o.Router
	if c.Befallen == nil {
		c.Befallen = map[string]int{}
	}
	for kind, n := range o.Befallen {
		c.Befallen[kind] += n
	}
}

// fault counts one.
func (c *Count) fault(kind string) {
	if c.Befallen == nil {
		c.Befallen = map[string]int{}
	}
	c.Befallen[kind]++
}

// String is all of it, a line for each kind.
func (c *Count) String() string {
	var text strings.Builder
	all := 0
	for kind, n := range map[string]int{
		"questions to servers": c.Polls, "questions to routers": c.Router, "lives of the daemon": c.Lives,
		"starts of the unit by it": c.Restarts,
	} {
		fmt.Fprintf(&text, "\n%9d %s", n, kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Befallen)) {
		fmt.Fprintf(&text, "\n%9d %s", c.Befallen[kind], kind)
		all += c.Befallen[kind]
	}
	fmt.Fprintf(&text, "\n%9d in all", all)
	return text.String()
}
