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
	}
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
