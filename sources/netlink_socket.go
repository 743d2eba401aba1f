package sources

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"netwatch"
)

// groups are all that netlink tells of links, addresses, and of what a way is made
// of: routes, rules and next hops.
const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
	unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE | unix.RTMGRP_IPV4_RULE |
	1<<(unix.RTNLGRP_IPV6_RULE-1) | 1<<(unix.RTNLGRP_NEXTHOP-1)

// A rtnetlink asks the kernel about the network namespace that it was opened in. It
// needs no privilege.
type rtnetlink struct {
	watches func(name string) bool
	// told is the socket on which the kernel tells of changes, and asked the one on
	// which it answers: so no answer has to wait behind the messages of a storm, nor
	// takes their room.
	told, asked *netlink.Conn
	raw         syscall.RawConn // of told
}

// openKernel listens before anything is read, so that no change is missed.
func openKernel(watches func(name string) bool) (kernel, error) {
	told, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: groups})
	if err != nil {
		return nil, unopened(err)
	}
	asked, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, errors.Join(unopened(err), told.Close())
	}
	raw, err := told.SyscallConn()
	if err != nil {
		return nil, errors.Join(unopened(err), told.Close(), asked.Close())
	}
	return &rtnetlink{watches, told, asked, raw}, nil
}

// unopened says why there is no socket, with the remedy.
func unopened(err error) error {
	err = fmt.Errorf("opening a netlink socket: %w", err)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return netwatch.WithHint(err, "if netwatch runs as a unit, "+
			"RestrictAddressFamilies= of the unit must have AF_NETLINK; "+
			"in a container, its seccomp profile must let it")
	}
	return err
}

// Wait waits for a message and throws it away: it may be old by now, and not all
// there is. ENOBUFS says that messages were lost, which is a reason to look too.
func (k *rtnetlink) Wait() error {
	var failed error
	err := k.raw.Read(func(fd uintptr) bool {
		_, _, failed = unix.Recvfrom(int(fd), nil, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if errors.Is(failed, unix.ENOBUFS) || errors.Is(failed, unix.EINTR) {
		failed = nil
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("waiting for netlink: %w", err)
	}
	return nil
}

// questions are what Read asks for, links first, with the size of the struct that
// each begins with.
var questions = []struct {
	what   string
	kind   netlink.HeaderType
	length int
}{
	{"links", unix.RTM_GETLINK, unix.SizeofIfInfomsg},
	{"addresses", unix.RTM_GETADDR, unix.SizeofIfAddrmsg},
}

// Read asks for all links and addresses of all families, and for the ways.
func (k *rtnetlink) Read(before, now []Asked) (is network, whole bool, err error) {
	var all []netlink.Message
	for _, q := range questions {
		// All zero is: of any family, and no other restriction.
		request := netlink.Message{
			Header: netlink.Header{Type: q.kind, Flags: netlink.Request | netlink.Dump},
			Data:   make([]byte, q.length),
		}
		answer, err := k.asked.Execute(request)
		if err != nil {
			return network{}, false, fmt.Errorf("asking the kernel for the %s: %w", q.what, err)
		}
		all = append(all, answer...)
	}
	r, err := readMessages(all, k.watches)
	if err != nil {
		return network{}, false, err
	}
	if r.next, err = k.ways(r, now); err != nil {
		return network{}, false, err
	}
	r.ways = r.next
	if !slices.Equal(before, now) {
		r.ways, err = k.ways(r, before)
	}
	return r.network, !r.torn, err
}

// Close ends Wait.
func (k *rtnetlink) Close() error { return errors.Join(k.told.Close(), k.asked.Close()) }
