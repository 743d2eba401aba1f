package access

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nobody is the group of a user who is in none that is known (Debian's nogroup).
const nobody = 65534

// lookupID finds the user of that number. One who has no name has no groups.
func lookupID(uid uint32) (User, error) {
	found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if errors.As(err, new(user.UnknownUserIdError)) {
		return User{UID: int(uid), GID: nobody}, nil
	}
	if err != nil {
		return User{}, fmt.Errorf("looking for user %d: %w", uid, err)
	}
	return of(found)
}

// Do calls f. If this process is root's, f has the rights that the user has to files,
// and beside them only the capabilities in keeping. Only the thread of f is changed,
// and it ends with f. Its real and its saved user stay root, so that the user can
// neither stop, kill nor trace it (credentials(7), setfsuid(2)).
func (u User) Do(f func() error, keeping ...uint) error {
	if u.UID == os.Geteuid() {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For ever: the thread ends with the goroutine
		err := u.become(keeping)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// become gives the calling thread the user's ids for files. By that the kernel takes
// away the thread's capabilities that concern files.
func (u User) become(keeping []uint) error {
	if err := setGroups(u.Groups); err != nil {
		return fmt.Errorf("taking the groups of user %d: %w", u.UID, err)
	}
	if err := errors.Join(unix.Setfsgid(u.GID), unix.Setfsuid(u.UID)); err != nil {
		return fmt.Errorf("taking the rights of user %d: %w", u.UID, err)
	}
	// setfsuid does not say that it failed; to ask for no user changes nothing.
	if is, err := unix.SetfsuidRetUid(-1); err != nil || is != u.UID {
		return fmt.Errorf("taking the rights of user %d: %w", u.UID, unix.EPERM)
	}
	for _, capability := range keeping {
		if err := raise(capability); err != nil {
			return fmt.Errorf("keeping capability %d: %w", capability, err)
		}
	}
	return nil
}

// Connect calls f as somebody whom the other ends of the unix sockets that f connects
// take for the user (SO_PEERCRED is that of connect(2)). Only root can do that. The
// thread that f runs in ends with it; its real and its saved user stay root.
func (u User) Connect(f func() error) error {
	if u.UID == os.Geteuid() {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // For ever: the thread ends with the goroutine
		const same = ^uintptr(0)
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(u.UID), same)
		if errno != 0 {
			done <- fmt.Errorf("becoming user %d: %w", u.UID, errno)
			return
		}
		done <- f()
	}()
	return <-done
}

// setGroups is setgroups(2) for the calling thread alone; unix.Setgroups changes all
// threads.
func setGroups(groups []uint32) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)),
		uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0) //nolint:gosec // setgroups(2) takes an address
	if errno != 0 {
		return errno
	}
	return nil
}

// raise puts a permitted capability into force for the calling thread.
func raise(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[capability/32].Effective |= 1 << (capability % 32)
	return unix.Capset(&header, &data[0])
}
