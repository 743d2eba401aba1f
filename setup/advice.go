package setup

import (
	"fmt"
	"slices"

	"netwatch/machine"
)

// Advice lists what is left to do by hand, one thing on a line: what gives others a
// right, or belongs into files of others. program is the path by which netwatch is to
// be called.
func Advice(m machine.Machine, program string) (lines []string) {
	for _, c := range m.Served() {
		if h := hookOf(c.File); h != nil {
			lines = append(lines, fmt.Sprintf("install -D -m 755 %s%s %s, so that a renewal of %s is told", examples, h.example,
				h.file, c.File))
		} else if !c.Open {
			lines = append(lines, fmt.Sprintf("have what renews %s run, as root: %s", c.File, tell(c)))
		}
	}
	for _, v := range m.VPNs {
		old := slices.ContainsFunc(m.Old, func(o machine.Old) bool { return o.File == v.File })
		if len(v.Hooked) == 0 && !old {
			lines = append(lines, fmt.Sprintf("%s: add `ipchange \"%s hook openvpn\"`", v.File, program))
		}
		if v.Silent() {
			lines = append(lines, v.File+": add `script-security 2`; without it OpenVPN calls nobody")
		}
	}
	return lines
}
