package machine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"netwatch"
)

// Print says what was found, for a person.
func (m Machine) Print(w io.Writer) {
	for _, t := range m.Turns {
		fmt.Fprintf(w, "coturn: %s with %s%s\n",
			netwatch.Printable(t.Unit), netwatch.Printable(t.File), serving(t.Certificate))
		if t.Passing {
			fmt.Fprintf(w, "    it will not be there after the next boot: give it a file below /etc/systemd/system\n")
		}
	}
	for _, i := range m.Idle {
		fmt.Fprintf(w, "coturn left alone: %s with %s: %s\n    to use it: %s\n", netwatch.Printable(i.Unit),
			netwatch.Printable(i.File), i.Why, netwatch.Printable(i.Remedy))
	}
	for _, c := range m.Contained {
		c.print(w)
	}
	for _, s := range m.Servers {
		s.print(w)
	}
	for _, s := range m.Synapses {
		fmt.Fprintf(w, "Synapse: %s%s\n", netwatch.Printable(s.Unit), serving(s.Certificate))
	}
	for _, v := range m.VPNs {
		fmt.Fprintf(w, "OpenVPN client: %s\n", netwatch.Printable(v.File))
	}
	if m.Router.IsValid() {
		fmt.Fprintf(w, "router: %s, which says its address\n", m.Router)
	}
	for _, c := range m.Unused {
		fmt.Fprintf(w, "certificate that none of these serves: %s\n", netwatch.Printable(c.File))
	}
	for _, o := range m.Old {
		o.print(w)
	}
	for _, err := range m.Unread {
		fmt.Fprintf(w, "not seen: %s\n", netwatch.Printable(err.Error()))
		if hint := netwatch.Hint(err); hint != "" {
			fmt.Fprintf(w, "    %s\n", netwatch.Printable(hint))
		}
	}
}

// print says which server it is, and why there is no rule for it if there is none.
func (s Server) print(w io.Writer) {
	line := fmt.Sprintf("%s: %s with %s", s.Name, s.Unit, s.File)
	if s.Version != "" {
		line += ", version " + s.Version
	}
	if ports := s.ports(); len(ports) > 0 {
		line += ", ports " + strings.Join(ports, " ")
	}
	fmt.Fprintf(w, "%s%s\n", netwatch.Printable(line), serving(s.Certificate))
	if s.Passing {
		fmt.Fprintf(w, "    it will not be there after the next boot: give it a file below /etc/systemd/system\n")
	}
	if s.Refused != nil {
		fmt.Fprintf(w, "    left alone: %s\n", netwatch.Printable(s.Refused.Error()))
		if hint := netwatch.Hint(s.Refused); hint != "" {
			fmt.Fprintf(w, "    %s\n", netwatch.Printable(hint))
		}
	}
}

// ports are those that a router has to hand on to it.
func (s Server) ports() []string {
	if s.Ports == nil {
		return nil
	}
	return s.Ports(s.Text)
}

// print says which container it is, and what it is made of.
func (c Container) print(w io.Writer) {
	line := c.Server + " in a container: " + strings.TrimSpace(c.Engine+" "+c.ID[:shortID])
	for _, part := range []struct{ word, what string }{
		{"called ", c.Name}, {"run by ", c.Unit}, {"made of ", c.Source}, {"with ", c.Inside}, {"which is ", c.File},
	} {
		if part.what != "" {
			line += ", " + part.word + part.what
		}
	}
	fmt.Fprintln(w, netwatch.Printable(line))
}

func serving(c Certificate) string {
	if c.File == "" {
		return ""
	}
	return ", certificate " + netwatch.Printable(c.File)
}

func (o Old) print(w io.Writer) {
	fmt.Fprintf(w, "replaced by netwatch: %s: %s\n", netwatch.Printable(o.File), netwatch.Printable(o.What))
	for _, line := range o.Lines {
		fmt.Fprint(w, indent("    ", strings.TrimSpace(line)))
	}
	if o.Kept != "" {
		fmt.Fprintf(w, "    stays: %s\n", netwatch.Printable(o.Kept))
	}
}

// Removable says whether there is anything old that --migrate would take out.
func (m Machine) Removable() bool {
	return slices.ContainsFunc(m.Old, func(o Old) bool { return o.Kept == "" })
}

// Shown says, for a person, which lines go and what takes their place.
func (o Old) Shown() string {
	var b strings.Builder
	for i, line := range o.Lines {
		b.WriteString(indent("    - ", line) + indent("    + ", o.Instead[i]))
	}
	return b.String()
}

// indent puts something before each line of a text.
func indent(before, text string) string {
	if text == "" {
		return ""
	}
	return before + strings.ReplaceAll(text, "\n", "\n"+before) + "\n"
}
