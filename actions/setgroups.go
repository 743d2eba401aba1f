//go:build !386 && !arm

package actions

import "golang.org/x/sys/unix"

const sysSetgroups = unix.SYS_SETGROUPS
