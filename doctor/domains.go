package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"netwatch"
)

// checkDomains looks whether the names that callers reach coturn by lead to the
// public address.
func checkDomains(ctx context.Context, s *scene) (found []Finding) {
	known := s.known()
	for _, t := range s.found.Turns {
		for _, domain := range t.Domains {
			all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", domain)
			if missing := new(net.DNSError); errors.As(err, &missing) && missing.IsNotFound && len(t.Domains) > 1 {
				continue // a realm need not be a host
			}
			f := judgeDomain(domain, all, err, known)
			if !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	return found
}

// judgeDomain compares what a name leads to with the public addresses. On the
// machine itself it may lead to a private address, as YunoHost has it: that says
// nothing about what others see.
func judgeDomain(domain string, all []netip.Addr, err error, known map[netwatch.Family]netip.Addr) Finding {
	if err != nil {
		return Finding{Unknown, domain, err.Error(), ""}
	}
	var public, differ []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		if netwatch.CheckPublic(a, nil) != nil || !known[netwatch.FamilyOf(a)].IsValid() {
			continue
		}
		public = append(public, a)
		if a != known[netwatch.FamilyOf(a)] {
			differ = append(differ, a)
		}
	}
	switch {
	case len(public) == 0:
		return Finding{Unknown, domain, "as seen from here it has no public address", ""}
	case len(differ) > 0:
		return Finding{
			Problem, domain, fmt.Sprintf("leads to %s, and the public address is %s",
				addresses(differ), addresses(slices.Collect(maps.Values(known)))),
			"have the A or AAAA record say it, as with a client of dynamic DNS",
		}
	}
	return Finding{OK, domain, "leads to " + addresses(public), ""}
}
