package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"netwatch"
	"netwatch/config"
	"netwatch/control"
)

// printPeers prints how the other machines stand, for a person.
func printPeers(w io.Writer, all []netwatch.Peer) {
	for _, p := range all {
		text := fmt.Sprintf("%s since %s", p.State, p.Since.Local().Format(time.DateTime))
		for _, family := range netwatch.Families {
			if a, has := p.Addresses[family]; has {
				text += fmt.Sprintf(", %s since %s", a.Address, a.Since.Local().Format(time.DateTime))
			}
		}
		if p.Version != "" {
			text += ", netwatch " + p.Version
		}
		fmt.Fprintf(w, "peer %s\t%s\n", shown(p.Peer), shown(text))
	}
}

// probePeers has the daemon, who alone is connected, ask the broker. Where nobody else can
// be asked, it is a failure that the daemon is down, or the broker.
func (c *command) probePeers(ctx context.Context, cfg *config.Config, alone bool) error {
	if !cfg.Tells() {
		return nil
	}
	p, err := c.askPeers(ctx)
	switch {
	case err != nil && alone:
		return fmt.Errorf("asking for the other machines: %w", err)
	case err != nil:
		p = control.Probed{Peers: []netwatch.Peer{}, Error: err.Error(), Hint: netwatch.Hint(err)}
	}
	if err := c.printProbed(p); err != nil {
		return err
	}
	if alone && p.Error != "" {
		return errFailed
	}
	return nil
}

// askPeers has the daemon ask the broker.
func (c *command) askPeers(ctx context.Context) (control.Probed, error) {
	client, err := c.client()
	if err != nil {
		return control.Probed{}, err
	}
	return client.Probe(ctx)
}

// printProbed prints what the daemon said of the other machines.
func (c *command) printProbed(p control.Probed) error {
	if c.json {
		return c.printJSON(p)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	switch {
	case p.Error != "":
		fmt.Fprintf(w, "other machines\t%s\n", lines(p.Error, "\t"))
	case len(p.Peers) == 0:
		fmt.Fprint(w, "other machines\tthe broker answers, and none was heard of yet\n")
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "\thint: %s\n", shown(p.Hint))
	}
	printPeers(w, p.Peers)
	return w.Flush()
}
