package netwatch

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// OwnAddress is this machine's own address: the public one if one of its interfaces
// has that, otherwise the source address of packets to the internet, or invalid if
// there is no route. It sends no packet.
func OwnAddress(family Family, public netip.Addr) netip.Addr {
	if public.IsValid() && IsOwn(public) {
		return public
	}
	// These stand for the internet: they are routed like it and belong to
	// nobody (RFC 5737, RFC 3849).
	towards := "192.0.2.1:9"
	if family == IPv6 {
		towards = "[2001:db8::1]:9"
	}
	conn, err := net.Dial("udp", towards)
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	here := netip.MustParseAddrPort(conn.LocalAddr().String()).Addr()
	if table, err := os.ReadFile("/proc/net/if_inet6"); err == nil && here.Is6() {
		return lasting(string(table), here)
	}
	return here
}

// IsOwn says whether a is an address of one of this machine's interfaces. Binding a
// socket to it would not tell: with ip_nonlocal_bind, or before the first address is
// up, any address can be bound (measured).
func IsOwn(a netip.Addr) bool { return slices.Contains(OwnAddresses(), a) }

// OwnAddresses are the addresses of this machine's interfaces. None are found if the
// kernel does not tell.
func OwnAddresses() (all []netip.Addr) {
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr().Unmap().WithZone(""))
		}
	}
	return all
}

// The flags of an IPv6 address (linux/if_addr.h).
const (
	flagTemporary = 0x01
	flagUnsteady  = 0x08 | 0x20 | 0x40 // failed duplicate detection, deprecated, tentative
)

// lasting returns a, or, if a is a temporary address (RFC 8981), one beside it that
// outlives it. table is /proc/net/if_inet6: address, interface index, prefix length,
// scope and flags in hexadecimal, and the interface name.
func lasting(table string, a netip.Addr) netip.Addr {
	type entry struct {
		address netip.Addr
		scope   string
		iface   string
		flags   uint64
	}
	var all []entry
	temporary := ""
	for line := range strings.Lines(table) {
		word := strings.Fields(line)
		if len(word) != 6 {
			continue
		}
		raw, _ := hex.DecodeString(word[0])
		address, _ := netip.AddrFromSlice(raw)
		flags, _ := strconv.ParseUint(word[4], 16, 8)
		all = append(all, entry{address, word[3], word[5], flags})
		if address == a && flags&flagTemporary != 0 {
			temporary = word[5]
		}
	}
	net64, _ := a.Prefix(64)
	for _, e := range all {
		if e.iface == temporary && e.scope == "00" && e.flags&(flagTemporary|flagUnsteady) == 0 && net64.Contains(e.address) {
			return e.address
		}
	}
	return a
}
