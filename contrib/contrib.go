// Package contrib holds the files here that netwatch init puts in place for others to
// call: what it writes and what is told to be put in place by hand are the same.
package contrib

import _ "embed"

// The hooks that tell netwatch of a renewed certificate, for who renews it.
var (
	//go:embed yunohost/50-netwatch
	YunoHost []byte
	//go:embed certbot/netwatch
	Certbot []byte
)

// What has OpenVPN call netwatch: the lines for the end of a client's configuration,
// the drop-in for its units, and the script that YunoHost's VPN client runs.
var (
	//go:embed openvpn/client.conf
	Client []byte
	//go:embed openvpn/limit.conf
	Limit []byte
	//go:embed openvpn/yunohost/90-netwatch
	Script []byte
)

// The templates of units that restart a container, whose instances are called as it is.
var (
	//go:embed docker/netwatch-docker@.service
	Docker []byte
	//go:embed docker/netwatch-podman@.service
	Podman []byte
)
