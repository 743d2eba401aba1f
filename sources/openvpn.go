package sources

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"strconv"

	"netwatch"
)

// An OpenVPN is the settings of a source that OpenVPN's scripts speak for: each
// runs `netwatch hook openvpn`, which hands vpn-changed to the control socket.
type OpenVPN struct {
	// Users may fire vpn-changed and nothing else. OpenVPN runs its first
	// scripts as root and, with `user nobody`, the later ones as nobody
	// (measured).
	Users []string `toml:"users"`
}

func newOpenVPN() Settings { return &OpenVPN{Users: []string{"root", "nobody"}} }

// Check lists users that the machine does not have.
func (o *OpenVPN) Check() (all []Mistake) {
	for i, name := range o.Users {
		switch _, err := user.Lookup(name); {
		case slices.Contains(o.Users[:i], name):
			all = append(all, Mistake{"users", i, name + " is there twice"})
		case err != nil:
			all = append(all, Mistake{"users", i, fmt.Sprintf("%q is no user of this machine", name)})
		}
	}
	return all
}

// Claims are the users: an event is of the source that lets its user fire.
func (o *OpenVPN) Claims() (key string, values []string) { return "users", o.Users }

// Fires is vpn-changed.
func (o *OpenVPN) Fires() string { return netwatch.VPNChanged }

// UIDs are the ids of Users.
func (o *OpenVPN) UIDs() (all []uint32) {
	for _, name := range o.Users {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if id, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
			all = append(all, uint32(id))
		}
	}
	return all
}

// MayFire says whether the user with that id is one of Users.
func (o *OpenVPN) MayFire(uid uint32) bool { return slices.Contains(o.UIDs(), uid) }

// Source makes the source.
func (o *OpenVPN) Source(name string, _ Env) netwatch.Source { return openVPN(name) }

// An openVPN is the name of a source that others speak for.
type openVPN string

// String is the name in the configuration.
func (o openVPN) String() string { return string(o) }

// Run waits until ctx is done: the events come over the control socket.
func (o openVPN) Run(ctx context.Context, _ func(netwatch.Event) error) error {
	<-ctx.Done()
	return nil
}
