//go:build 386 || arm

package actions

import "golang.org/x/sys/unix"

// sysSetgroups is the call with groups of 32 bits: the other has 16 here.
const sysSetgroups = unix.SYS_SETGROUPS32
