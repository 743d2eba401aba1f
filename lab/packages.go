package lab

import (
	"context"
	"fmt"

	"netwatch"
)

// installing has the root of a server and packages. What is mounted there for their
// scripts goes with its mount namespace; the network is this machine's, since the
// server's has no mirror of Debian.
const installing = `set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	apt-get -qq install --yes --no-install-recommends -o DPkg::Lock::Timeout=60 "$@"
`

// AddPackages installs Debian's packages in the server. None of what they bring is
// started.
func (s *Server) AddPackages(ctx context.Context, names ...string) error {
	line := append([]string{
		"unshare", "--mount", "--propagation=private", "--", "sh", "-c", installing, "sh", s.root,
	}, names...)
	if _, err := run(ctx, line...); err != nil {
		return netwatch.WithHint(fmt.Errorf("installing %v: %w", names, err), "apt-get update")
	}
	return nil
}
