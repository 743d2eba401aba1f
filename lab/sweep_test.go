package lab

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

func TestAbandoned(t *testing.T) {
	const never = 1 << 30 // Above the greatest process id (proc_sys_kernel(5)).
	for name, want := range map[string]bool{
		fmt.Sprintf("nw%dx1", never):           true,
		fmt.Sprintf("nw%dx12-inet", never):     true,
		fmt.Sprintf("nw%dx1-other", never):     false,
		fmt.Sprintf("xnw%dx1", never):          false,
		fmt.Sprintf("nw%dx1-rtr", os.Getpid()): false,
		"nw":                                   false,
	} {
		if got := abandoned(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMountPoints(t *testing.T) {
	const table = `22 27 0:21 / /proc rw - proc proc rw
50 27 0:40 / /tmp/labs/nw7 rw - tmpfs nwlab rw
51 50 0:41 / /tmp/labs/nw7/root rw - overlay overlay rw
52 27 0:42 / /tmp/labs-of-others/nw8 rw - tmpfs x rw
`
	want := []string{"/tmp/labs/nw7", "/tmp/labs/nw7/root"}
	if got := mountPoints(table, "/tmp/labs"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
