// Command call asks a LiveKit for candidates as callers do, and prints each on a line:
// call ADDRESS:PORT KEY SECRET. With another word it is a call that goes on until it is
// killed.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"netwatch/whip"
)

func main() {
	if err := call(); err != nil {
		fmt.Fprintln(os.Stderr, "call:", err)
		os.Exit(1)
	}
}

func call() error {
	to, err := netip.ParseAddrPort(os.Args[1])
	if err != nil {
		return err
	}
	// Without node_ip LiveKit answers after 10 s here.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	ask := whip.Ask{To: to, Key: os.Args[2], Secret: os.Args[3]}
	if len(os.Args) > 4 {
		_, err := whip.Open(ctx, ask)
		fmt.Println("open", err)
		if err == nil {
			select {}
		}
		return err
	}
	call, err := whip.Open(ctx, ask)
	if err != nil {
		return err
	}
	call.Close()
	for _, c := range call.Candidates {
		fmt.Println(c.Over, c.Address, c.Port)
	}
	return nil
}
