package setup

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"netwatch"
)

// Print says what was found, for a person.
func (f Findings) Print(w io.Writer) {
	for _, t := range f.Turns {
		fmt.Fprintf(w, "coturn: %s with %s%s\n",
			netwatch.Printable(t.Unit), netwatch.Printable(t.File), serving(t.Certificate))
	}
	for _, s := range f.Synapses {
		fmt.Fprintf(w, "Synapse: %s%s\n", netwatch.Printable(s.Unit), serving(s.Certificate))
	}
	for _, v := range f.VPNs {
		fmt.Fprintf(w, "OpenVPN client: %s\n", netwatch.Printable(v.File))
	}
	for _, c := range f.Unused {
		fmt.Fprintf(w, "certificate that none of these serves: %s\n", netwatch.Printable(c.File))
	}
	for _, o := range f.Old {
		o.print(w)
	}
	for _, err := range f.Unread {
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

// Removable says whether anything is old that --migrate would take out.
func (f Findings) Removable() bool {
	return slices.ContainsFunc(f.Old, func(o Old) bool { return o.Kept == "" })
}

// Advice is what is left to do by hand, a line each: what gives others a right, or
// belongs into files of others. program is where netwatch is to be called from.
func (f Findings) Advice(program string) (lines []string) {
	for _, c := range f.Served() {
		if hook := hookOf(c.File); hook != "" {
			lines = append(lines, fmt.Sprintf("put the hook %s in place, so that a renewal of %s is told", hook, c.File))
		}
	}
	for _, v := range f.VPNs {
		old := slices.ContainsFunc(f.Old, func(o Old) bool { return o.File == v.File })
		if len(v.Hooked) == 0 && !old {
			lines = append(lines, fmt.Sprintf("%s: add `ipchange \"%s hook openvpn\"`", v.File, program))
		}
		if v.silent() {
			lines = append(lines, v.File+": add `script-security 2`; without it OpenVPN calls nobody")
		}
	}
	return lines
}

// Print shows what is to be put back, and what not.
func (r *Restore) Print(w io.Writer) {
	for _, c := range r.Changes {
		what := "put back"
		if c.After == nil {
			what = "remove"
		}
		fmt.Fprintf(w, "%s %s\n", what, netwatch.Printable(c.File))
	}
	for _, file := range r.Moved {
		fmt.Fprintf(w, "stays: %s: somebody changed it since (--force puts it back all the same)\n", netwatch.Printable(file))
	}
}
