package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"netwatch"
	"netwatch/machine"
)

// checkVPN looks whether OpenVPN tells netwatch what happens to its tunnels.
func checkVPN(_ context.Context, s *scene) (found []Finding) {
	wanted := s.cfg != nil && s.waitsFor(netwatch.VPNChanged)
	for _, v := range s.found.VPNs {
		found = append(found, s.judgeVPN(v, wanted))
	}
	return found
}

// waitsFor says whether any rule is on an event.
func (s *scene) waitsFor(event string) bool {
	for _, r := range s.cfg.Rules {
		if slices.Contains(r.On, event) {
			return true
		}
	}
	return false
}

// judgeVPN looks at one client. wanted says that some rule waits for OpenVPN.
func (s *scene) judgeVPN(v machine.VPN, wanted bool) Finding {
	switch {
	case len(v.Scripts) > 0 && v.Silent():
		return Finding{
			Problem, v.File,
			fmt.Sprintf("script-security is %s, so that OpenVPN calls none of %s", v.Security, strings.Join(v.Scripts, ", ")),
			"write script-security 2 into it, and restart OpenVPN",
		}
	case wanted && len(v.Hooked) == 0 && !machine.ScriptsCallUs(s.Tree):
		return Finding{
			Warning, v.File, "nothing in it calls netwatch, and a rule waits for vpn-changed",
			"netwatch init has it call netwatch, or says what keeps it from that",
		}
	case s.cfg != nil && !wanted && len(v.Hooked) > 0:
		return Finding{
			Note, v.File, "it calls netwatch, and no rule waits for vpn-changed: nothing follows from that",
			fmt.Sprintf("netwatch init shows [source.openvpn] and a rule for that, to be added to %s",
				netwatch.ShellPath(s.Config)),
		}
	}
	return Finding{OK, v.File, "it calls " + orNone(v.Scripts), ""}
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, ", ")
}
