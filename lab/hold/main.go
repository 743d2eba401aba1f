// Command hold keeps a directory's lock in the kernel for as long as it lives, with
// no more than the right to read it: it reads the directory into memory whose page
// never comes, of a file system of its own in a user namespace (unshare -Urm hold
// DIR MOUNTPOINT). Whoever wants to change a name in the directory waits meanwhile,
// and no signal ends that.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	var err error
	if os.Args[1] == "serve" {
		err = serve(3)
	} else {
		err = hold(os.Args[1], os.Args[2])
	}
	fmt.Fprintln(os.Stderr, "hold:", err)
	os.Exit(1)
}

func hold(dir, mnt string) error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	if err := unix.Mount("x", mnt, "fuse", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	child := exec.Command("/proc/self/exe", "serve")
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "fuse")}
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return err
	}
	_ = child.ExtraFiles[0].Close()
	f, err := unix.Open(mnt+"/f", unix.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	addr, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED, uintptr(f), 0)
	if errno != 0 {
		return fmt.Errorf("mmap: %w", errno)
	}
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "hold: reading", dir)
	n, _, errno := unix.Syscall(unix.SYS_GETDENTS64, uintptr(d), addr, 1<<20)
	return fmt.Errorf("getdents came back: %d %w", int(n), errno)
}

// serve is the file system: a directory, and a file in it whose text never comes.
func serve(fd int) error {
	in := make([]byte, 1<<20+4096)
	for {
		if _, err := unix.Read(fd, in); err != nil {
			return err
		}
		op, unique, node := le.Uint32(in[4:]), le.Uint64(in[8:]), le.Uint64(in[16:])
		var body []byte
		var code int32
		switch op {
		case 15: // READ: never
			fmt.Fprintln(os.Stderr, "hold: held")
			continue
		case 2, 42: // FORGET
			continue
		default:
			if body = answer(op, node); body == nil {
				code = -int32(unix.ENOSYS)
			}
		}
		out := make([]byte, 16, 16+len(body))
		le.PutUint32(out, uint32(16+len(body)))
		le.PutUint32(out[4:], uint32(code))
		le.PutUint64(out[8:], unique)
		if _, err := unix.Write(fd, append(out, body...)); err != nil {
			fmt.Fprintln(os.Stderr, "hold: answering", op, err)
		}
	}
}

// answer is the body of the answer to a request about a node, nil if there is none.
func answer(op uint32, node uint64) []byte {
	switch op {
	case 26: // INIT
		body := make([]byte, 64)
		le.PutUint32(body, 7)
		le.PutUint32(body[4:], 31)
		le.PutUint32(body[20:], 1<<16)
		return body
	case 1: // LOOKUP
		body := make([]byte, 40, 128)
		le.PutUint64(body, 2)
		le.PutUint64(body[16:], 100)
		le.PutUint64(body[24:], 100)
		return append(body, attributes(2)...)
	case 3: // GETATTR
		body := make([]byte, 16, 104)
		le.PutUint64(body, 100)
		return append(body, attributes(node)...)
	case 14, 27: // OPEN
		return make([]byte, 16)
	}
	return nil
}

// attributes are those of the directory, which is node 1, or of the file.
func attributes(node uint64) []byte {
	a := make([]byte, 88)
	le.PutUint64(a, node)
	mode := uint32(0o40755)
	if node != 1 {
		mode = 0o100666
		le.PutUint64(a[8:], 1<<20)
	}
	le.PutUint32(a[60:], mode)
	le.PutUint32(a[64:], 1)
	le.PutUint32(a[80:], 4096)
	return a
}

var le = binary.LittleEndian
