// Command outside proves from where it runs that callers get calls at an address, and
// prints a word for each way and for the relay, and how long it took: outside ADDRESS NAME
// PASSWORD TRANSPORT:PORT...
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"netwatch/servers"
	"netwatch/turn"
)

func main() {
	o := turn.Outside{As: servers.Credential{Name: os.Args[2], Password: os.Args[3]}}
	o.Address, _ = netip.ParseAddr(os.Args[1]) // Check says that it is none
	for _, word := range os.Args[4:] {
		over, port, _ := strings.Cut(word, ":")
		n, _ := strconv.ParseUint(port, 10, 16)
		o.Ways = append(o.Ways, turn.Way{Over: servers.Transport(over), Port: uint16(n)})
	}
	if err := o.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "outside:", err)
		os.Exit(1)
	}
	begun := time.Now()
	seen := turn.FromOutside(context.Background(), o)
	fmt.Println(seen.Ways, "relay", seen.Relay)
	fmt.Fprintln(os.Stderr, time.Since(begun))
}
