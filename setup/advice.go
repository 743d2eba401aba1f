package setup

import (
	"fmt"
	"slices"

	"netwatch/machine"
)

// Advice is what is left to do by hand, a line each: what gives others a right, or
// belongs into files of others. program is where netwatch is to be called from.
func Advice(m machine.Machine, program string) (lines []string) {
	for _, c := range m.Served() {
		if hook := hookOf(c.File); hook != "" {
			lines = append(lines, fmt.Sprintf("put the hook %s in place, so that a renewal of %s is told", hook, c.File))
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
