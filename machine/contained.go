package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
)

// keepContained has a server in a container be one of those whose files are kept right, as
// long as there is a file of this machine, and a unit that starts the container anew.
func (s *search) keepContained(c *Container, p process) {
	if c.Users || c.Inside == "" || c.File == "" || c.restarter() == "" {
		return
	}
	text := s.read(c.File)
	if c.Refused = s.refusesContained(*c, p, text); c.Refused != nil || text == nil {
		return
	}
	c.Keeper = c.restarter()
	if p.server.Name == "coturn" {
		s.Turns = append(s.Turns, s.containedTurn(c, p, text))
		return
	}
	server := p.server
	server.Drain = "" // It is the engine that ends it, after a time of its own
	if !c.HostNetwork {
		server.Offer, server.Calls, server.Binds = nil, nil, false // It is reached by this machine's addresses at most
	}
	cert, _ := s.containedCertificate(c, p, text)
	s.Servers = append(s.Servers, Server{Server: server, Unit: c.Keeper, File: c.File, Text: text, Certificate: cert})
}

// restarter is the unit that starts a container anew: the one that runs it, or else the
// instance of a template of contrib that has its engine do so; empty if there is neither.
func (c Container) restarter() string {
	name := "netwatch-" + c.Engine + "@" + c.Name + ".service"
	switch {
	case c.Unit != "":
		return c.Unit
	case c.Engine == "" || c.Name == "" || systemd.CheckName(name) != nil:
		return ""
	}
	return name
}

// refusesContained says why a rewritten file would not make right what the callers of a
// server in a container get, or would make it worse.
func (s *search) refusesContained(c Container, p process, text []byte) error {
	if err := s.doubts(c, p, text); err != nil {
		return err
	}
	if name := overruled(p, text); name != "" {
		return netwatch.WithHint(fmt.Errorf("it is started with %s, beside which its file does not count", name),
			fmt.Sprintf("take %s out of the command in %s, have it made anew by that, and run netwatch init again",
				name, c.made()))
	}
	private := servers.Stray(text, netwatch.OwnAddresses())
	if p.server.Name == "coturn" && !c.HostNetwork && private.IsValid() {
		return netwatch.WithHint(fmt.Errorf("a pair of its external-ip has %s, which is the container's alone", private),
			fmt.Sprintf("leave /%s out of %s: a plain line suffices there", private, c.File))
	}
	twin := slices.ContainsFunc(s.Turns, func(t Turn) bool { return t.File == c.File })
	switch {
	case twin:
		return netwatch.WithHint(fmt.Errorf("%s is the file of another coturn too", c.File), "give each a file of its own")
	case netwatch.CheckPlain(c.File) != nil: // It goes into netwatch.toml
		return netwatch.CheckPlain(c.File)
	case p.server.Name == "coturn":
		return nil
	}
	return p.server.Takes(text, s.own)
}

// overruled is the option of a command line that goes before what the file says, as it is. Of
// coturn the file wins, but for a pair over which a plain address goes (measured).
func overruled(p process, text []byte) string {
	names := []string{p.server.Flag}
	if p.server.Name == "coturn" && strings.Contains(servers.Setting(text, "external-ip"), "/") {
		names = []string{"--external-ip", "-X"}
	}
	for _, word := range p.words {
		if name, _, _ := strings.Cut(word, "="); name != "" && slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

// containedTurn is a coturn in a container.
func (s *search) containedTurn(c *Container, p process, text []byte) Turn {
	t := s.turn(c.Keeper, c.File)
	cert, alone := s.containedCertificate(c, p, text)
	t.Certificate, t.Renews, t.Elsewhere = cert, c.renews(alone), !c.HostNetwork
	t.Auto = c.HostNetwork && servers.OnlyPair(text) && !servers.Stray(text, netwatch.OwnAddresses()).IsValid()
	if t.TLS = tlsPort(text); cert == (Certificate{}) || t.Elsewhere && !c.hasPublished(t.TLS, servers.TLS) {
		t.TLS = 0
	}
	if t.Unproven == nil && t.Elsewhere && !c.publishes(text) {
		t.Unproven = ErrWaysIn
	}
	return t
}

// publishes says whether this machine hands on to a container all ports by which the file
// of its coturn has callers come in.
func (c Container) publishes(text []byte) bool {
	coturn, err := servers.Named("coturn")
	if err != nil {
		return false
	}
	offer, err := coturn.Offer(text, time.Now())
	return err == nil && !slices.ContainsFunc(offer.Listeners, func(l servers.Listener) bool {
		return l.IP.IsValid() || !c.hasPublished(l.Port, l.Over)
	})
}

// hasPublished says whether this machine hands on a port to a container.
func (c Container) hasPublished(port uint16, by servers.Transport) bool {
	over := "tcp"
	if by == servers.UDP {
		over = "udp"
	}
	return slices.Contains(c.Published, fmt.Sprintf("%d/%s", port, over))
}

// String is what a server in a container is called.
func (c Container) String() string {
	name := c.Name
	if name == "" {
		name = c.ID[:min(len(c.ID), shortID)]
	}
	return c.Server + " in " + strings.TrimSpace(c.Engine+" "+name)
}

// shortID is how much of a container's number engines show.
const shortID = 12

// Lacks says what to do first where netwatch cannot keep a server in a container right as it
// is; empty where nothing is. It rewrites files of this machine and has units of its systemd
// restarted, and nothing else. A rewritten file is a new one: what is mounted alone is the old
// one until the container is started anew.
func (c Container) Lacks() string {
	const again = ", then run netwatch init again"
	switch {
	case c.Users:
		return "it is of a user's own, and netwatch can restart only what a unit of the system runs: have one run it"
	case c.Inside == "":
		why := ""
		if c.Refused != nil {
			why = fmt.Sprintf(" (%v)", c.Refused)
		}
		return "it is started without a file that netwatch could rewrite" + why + ": in " + c.made() +
			", have its command name one by its full path, and nothing in its environment stand for it" + again
	case c.File == "":
		return fmt.Sprintf("its %s is in the image: in %s, mount a file of this machine there%s", c.Inside, c.made(), again)
	case c.Refused != nil && netwatch.Hint(c.Refused) != "":
		return fmt.Sprintf("%v: %s", c.Refused, netwatch.Hint(c.Refused))
	case c.Refused != nil:
		return c.Refused.Error()
	case c.Keeper == "":
		return "no unit of systemd runs it, and netwatch restarts nothing else: have one run it" + again
	case c.Replaced:
		return fmt.Sprintf("it still has the file that was there before %s was written anew: systemctl restart %s",
			c.File, netwatch.ShellPath(c.Keeper))
	}
	return ""
}

// Unrenewed says what to do so that a certificate in the image is followed.
func (c Container) Unrenewed() string {
	return fmt.Sprintf("its certificate %s is in the image, and no rule is for that: in %s, mount the one of this "+
		"machine that is renewed, then run netwatch init again", c.Sealed, c.made())
}

// made is where it is said what a container is made of.
func (c Container) made() string { return cmp.Or(c.Source, "what the container is made of") }
