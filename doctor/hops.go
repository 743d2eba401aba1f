package doctor

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// hopCount is how many routers are asked for: the NAT of a provider is among the
	// nearest.
	hopCount = 4
	// hopTime is how long a router may take to complain.
	hopTime = time.Second
)

// hops are the first routers on the way to an IPv4 address, the nearest first,
// invalid where one keeps silent. For each it sends a packet that may go only so far,
// about which the router complains. The kernel gives the complaint to the sender, who
// needs no privileges (ip(7), IP_RECVERR).
func hops(ctx context.Context, to netip.AddrPort) []netip.Addr {
	all := make([]netip.Addr, hopCount)
	if !to.Addr().Is4() {
		return nil
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = hop(ctx, to, i+1) })
	}
	wg.Wait()
	for again := 0; again < 2 && !all[0].IsValid(); again++ {
		all[0] = hop(ctx, to, 1) // It may have complained a moment ago: Linux does so once a second (icmp(7))
	}
	return all
}

// hop is the n-th router.
func hop(ctx context.Context, to netip.AddrPort, n int) netip.Addr {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = unix.Close(fd) }()
	if unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1) != nil ||
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, n) != nil {
		return netip.Addr{}
	}
	if unix.Sendto(fd, []byte{0}, 0, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}) != nil {
		return netip.Addr{}
	}
	if !complained(ctx, fd) {
		return netip.Addr{}
	}
	oob := make([]byte, 512)
	_, n, _, _, err = unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE)
	if err != nil {
		return netip.Addr{}
	}
	return offender(oob[:n])
}

// complained waits for an error on a socket, and says whether one came. Signals
// interrupt the wait; Go's runtime sends some to itself.
func complained(ctx context.Context, fd int) bool {
	end := time.Now().Add(hopTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	for {
		poll := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // Descriptors are small; POLLERR is always told.
		ready, err := unix.Poll(poll, int(max(0, time.Until(end)).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && ready > 0
		}
	}
}

// extendedErr is the size of struct sock_extended_err. The address of whoever
// complained follows it (linux/errqueue.h).
const extendedErr = 16

// offender reads from the control messages of an error who complained.
func offender(oob []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		if m.Header.Level != unix.IPPROTO_IP || m.Header.Type != unix.IP_RECVERR ||
			len(m.Data) < extendedErr+unix.SizeofSockaddrInet4 {
			continue
		}
		from := (*unix.RawSockaddrInet4)(unsafe.Pointer(&m.Data[extendedErr])) //nolint:gosec // As long as that, seen above.
		if from.Family == unix.AF_INET {
			return netip.AddrFrom4(from.Addr)
		}
	}
	return netip.Addr{}
}
