//go:build lab

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// synapses makes both instances as YunoHost does, with a user each, and starts
// them with their coturns at the first public address, and no netwatch.
func synapses(t *testing.T) {
	t.Helper()
	fresh(t, YunoHost) // Its coturn makes way for the first instance's.
	shell(t, "systemctl stop "+YunoHost.Unit)
	var units []string
	for _, i := range []Instance{FirstSynapse, SecondSynapse} {
		t.Cleanup(func() {
			if err := server.RemoveSynapse(context.Background(), i); err != nil {
				t.Error(err)
			}
		})
		_, err := server.Renew(i.Domain)
		must(t, err)
		must(t, server.InstallSynapse(t.Context(), i, SynapseSimple, FirstPublic.String()))
		units = append(units, i.Unit(), i.Coturn.Unit)
	}
	began := time.Now()
	shell(t, "systemctl start "+strings.Join(units, " "))
	for _, i := range []Instance{FirstSynapse, SecondSynapse} {
		healthy(t, i)
		must(t, world.Homeserver(i).Register(t.Context(), "alice", "wonderland"))
	}
	t.Logf("two Synapses were ready and had a user each after %v", time.Since(began))
}

// healthy waits until Synapse answers.
func healthy(t *testing.T, i Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error { return world.Homeserver(i).Healthy(ctx) }))
}

func TestSynapse(t *testing.T) {
	synapses(t)
	login, err := world.Homeserver(FirstSynapse).Login(t.Context(), "alice", "wonderland")
	must(t, err)
	fmt.Println(world.Homeserver(FirstSynapse).TURNServer(t.Context(), login))
	fmt.Println(world.Served(t.Context(), 8448))
	fmt.Println(world.Served(t.Context(), 5349))
	fmt.Println(netip.Addr{})
}
