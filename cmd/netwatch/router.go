package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
	"netwatch/sources"
)

// printRouter prints what the router says, for a person.
func printRouter(w io.Writer, s control.Status) {
	r := s.Router
	if r == nil {
		return
	}
	text := r.Gateway.String()
	if r.Address.IsValid() {
		text += fmt.Sprintf(" says %s since %s, by %s", r.Address, r.Since.Local().Format(time.DateTime), r.Protocol)
	}
	if word := r.Word(s.Addresses[netwatch.IPv4].Address); word != "" {
		text += ": " + word
	}
	fmt.Fprintf(w, "router\t%s\n", text)
}

// probeRouters asks the routers that the configuration has asked, on the way to those
// who answered.
func (c *command) probeRouters(ctx context.Context, cfg *config.Config, told []sources.Told) error {
	for _, source := range cfg.Sources {
		routed, ok := source.Settings.(sources.Routed)
		if !ok {
			continue
		}
		began := time.Now()
		r, err := routed.AskRouter(ctx, sources.AskedOf(told))
		p := routerProbed{Source: source.Name, Gateway: r.Gateway, Protocol: r.Protocol, Address: r.Address}
		if p.Seconds = time.Since(began).Seconds(); err != nil {
			p.Error = err.Error()
		}
		if err := c.printRouterProbed(p, r.Word(believed(told))); err != nil {
			return err
		}
	}
	return nil
}

// believed is our IPv4 address as the servers say it now.
func believed(told []sources.Told) netip.Addr {
	for _, t := range told {
		if t.Family == netwatch.IPv4 && t.Err == nil {
			return t.Address
		}
	}
	return netip.Addr{}
}

// A routerProbed is what a router said, as data.
type routerProbed struct {
	Source   string     `json:"source"`
	Gateway  netip.Addr `json:"gateway,omitzero"`
	Protocol string     `json:"protocol,omitempty"`
	Address  netip.Addr `json:"address,omitzero"`
	Seconds  float64    `json:"seconds"`
	Error    string     `json:"error,omitempty"`
}

func (c *command) printRouterProbed(p routerProbed, word string) error {
	if c.json {
		return c.printJSON(p)
	}
	said := "no address"
	switch {
	case !p.Gateway.IsValid():
		said = "there is no router on the way out"
	case p.Error != "":
		said = p.Error
	case p.Address.IsValid():
		said = p.Address.String()
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	if p.Gateway.IsValid() {
		fmt.Fprintf(w, "router %s\t%s\t%s\t%s\n", p.Gateway, p.Protocol, shown(said),
			time.Duration(p.Seconds*float64(time.Second)).Round(100*time.Microsecond))
	} else {
		fmt.Fprintf(w, "router\t%s\n", said)
	}
	if word != "" && p.Error == "" && p.Gateway.IsValid() {
		fmt.Fprintf(w, "→ router\t%s\n", word)
	}
	return w.Flush()
}
