package doctor

import (
	"context"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"

	"netwatch"
	"netwatch/servers"
	"netwatch/sources"
)

// checkSharedAddress looks whether the public address is shared with others, each of whom has
// some of its ports, and whether coturn's relay ports are among ours.
func checkSharedAddress(ctx context.Context, s *scene) (found []Finding) {
	public, known := s.known()[netwatch.IPv4]
	server := s.server(netwatch.IPv4)
	if !known || netwatch.IsOwn(public) || !server.IsValid() {
		return nil
	}
	ours, shared := rangeOf(sources.MappedPorts(ctx, server))
	if !shared {
		return nil
	}
	for _, target := range s.cfg.Needs().Rewrites {
		if text, err := s.Tree.Read(target.File); err == nil {
			found = append(found, judgePorts(target.File, public, ours, relayPorts(text))...)
		}
	}
	return found
}

// A portRange is from one port to another.
type portRange struct{ from, to uint16 }

func (r portRange) String() string { return fmt.Sprintf("%d to %d", r.from, r.to) }

func (r portRange) holds(o portRange) bool { return r.from <= o.from && o.to <= r.to }

const (
	// enoughPorts are so many that they would not lie together by chance.
	enoughPorts = 10
	// widest is the largest part of an address's ports that counts as a part. Ports that
	// lie within leastSpread are given out in turn, and say nothing.
	widest      = 1 << 14
	leastSpread = 1 << 10
)

// rangeOf is the part of all ports in which these lie, if that is the part of one of
// several who share an address: as many ports as a power of two, from a multiple of it.
func rangeOf(ports []uint16) (r portRange, shared bool) {
	if len(ports) < enoughPorts {
		return r, false
	}
	from, to := slices.Min(ports), slices.Max(ports)
	size := 1 << bits.Len16(from^to)
	if size > widest || to-from < leastSpread {
		return r, false
	}
	mask := uint16(size - 1) //nolint:gosec // At most widest
	return portRange{from &^ mask, to | mask}, true
}

// relayPorts are those from which a configuration of coturn has it relay; its own defaults
// where it says nothing.
func relayPorts(conf []byte) portRange {
	r := portRange{49152, 65535}
	for key, port := range map[string]*uint16{"min-port": &r.from, "max-port": &r.to} {
		if n, err := strconv.ParseUint(servers.Setting(conf, key), 10, 16); err == nil {
			*port = uint16(n)
		}
	}
	return r
}

// judgePorts says what it means that only some ports are ours.
func judgePorts(file string, public netip.Addr, ours, relays portRange) []Finding {
	if ours.holds(relays) {
		return nil
	}
	return []Finding{{
		Problem, file, fmt.Sprintf("%s seems to be shared with other lines: ours are the ports %s, and coturn relays from %s",
			public, ours, relays),
		fmt.Sprintf("set min-port and max-port within %s there and forward those; or ask the provider for an address "+
			"of your own", ours),
	}}
}
