package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/sources"
)

func (c *command) probeCommand() *cobra.Command {
	return c.jsonFlag(&cobra.Command{
		Use: "probe", Short: "Print what every STUN server, the router and other machines say right now", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.config, actions.Env{})
			if err != nil {
				return err
			}
			return c.probe(cmd.Context(), cfg)
		},
	})
}

// probe asks the servers of every STUN source; it is well if each source could
// find out some address.
func (c *command) probe(ctx context.Context, cfg *config.Config) error {
	var all []sources.Told
	asked, failed := false, false
	for _, source := range cfg.Sources {
		asking, ok := source.Settings.(sources.Asking)
		if !ok {
			continue
		}
		asked = true
		told := asking.Ask(ctx, cfg.Relays)
		all = append(all, told...)
		found, err := c.printAnswers(source.Name, told)
		if err != nil {
			return err
		}
		failed = failed || !found
	}
	if !asked && !cfg.Tells() {
		return netwatch.WithHint(errors.New("probing: the configuration has no source that can be asked"),
			"add a section [source.stun]")
	}
	if err := c.probeRouters(ctx, cfg, all); err != nil {
		return err
	}
	if err := c.probePeers(ctx, cfg, !asked); err != nil {
		return err
	}
	if failed {
		return errFailed
	}
	return nil
}

// A probed is what a server said, as data.
type probed struct {
	Source  string          `json:"source"`
	Server  sources.Server  `json:"server"`
	Family  netwatch.Family `json:"family"`
	Asked   string          `json:"asked,omitempty"`
	Address string          `json:"address,omitempty"`
	Seconds float64         `json:"seconds,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// A verdict is what follows from all answers for a family, as data.
type verdict struct {
	Source   string          `json:"source"`
	Family   netwatch.Family `json:"family"`
	Believed string          `json:"believed,omitempty"`
	Error    string          `json:"error,omitempty"`
	// OneHost are servers that are one host, and have one voice.
	OneHost [][]sources.Server `json:"one_host,omitempty"`
}

// printAnswers prints the answers of a source and what follows for each family.
func (c *command) printAnswers(source string, all []sources.Told) (found bool, err error) {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, told := range all {
		for _, a := range told.Answers {
			err = errors.Join(err, c.printAnswer(w, source, a))
		}
		v := verdict{Source: source, Family: told.Family, OneHost: sources.OneHost(told.Answers)}
		if told.Err == nil {
			found, v.Believed = true, told.Address.String()
		} else {
			v.Error = reason(told.Err)
		}
		err = errors.Join(err, c.printVerdict(w, v, told.Agree))
	}
	return found, errors.Join(err, w.Flush())
}

func (c *command) printAnswer(w *tabwriter.Writer, source string, a sources.Answer) error {
	p := probed{Source: source, Server: a.Server, Family: a.Family, Seconds: a.RTT.Seconds()}
	if a.Asked.IsValid() {
		p.Asked = a.Asked.String()
	}
	if a.Address.IsValid() {
		p.Address = a.Address.String()
	}
	said := p.Address
	if a.Err != nil {
		p.Error = a.Err.Error()
		said = p.Error
	}
	if c.json {
		return c.printJSON(p)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n",
		shown(string(a.Server)), a.Family, shown(said), a.RTT.Round(100*time.Microsecond))
	return err
}

// reason is why there is no verdict. It leaves out the answers, which are printed
// above it.
func reason(err error) string {
	if u := (sources.Undecided{}); errors.As(err, &u) {
		return u.Reason
	}
	return err.Error()
}

func (c *command) printVerdict(w *tabwriter.Writer, v verdict, agree int) error {
	if c.json {
		return c.printJSON(v)
	}
	text := fmt.Sprintf("%s, said by at least %d", v.Believed, agree)
	if v.Error != "" {
		text = "not known: " + v.Error
	} else {
		for _, group := range v.OneHost {
			text += "; " + sources.OneVoice(group)
		}
	}
	_, err := fmt.Fprintf(w, "→ %s\t\t%s\n", v.Family, shown(text))
	return err
}
