//go:build debian && lab

package lab

import (
	"context"
	"fmt"

	"netwatch"
)

// upgradeFiles downloads what Debian 13 has in place of the packages in a root of Debian 12,
// given the root, the directory that is to have that, and a mirror.
const upgradeFiles = `mkdir "$2/files" "$2/work" "$2/root" "$2/archives"
mount -t overlay -o "lowerdir=$1,upperdir=$2/files,workdir=$2/work" overlay "$2/root"
cp /etc/resolv.conf "$2/root/etc/resolv.conf"
echo "deb $3 trixie main" >"$2/root/etc/apt/sources.list"
export DEBIAN_FRONTEND=noninteractive
chroot "$2/root" apt-get -qq update
chroot "$2/root" apt-get -qq -y --no-install-recommends --download-only full-upgrade
mv "$2/root/var/cache/apt/archives"/*.deb "$2/archives"
mv "$2/root/var/lib/apt/lists" "$2/root/etc/apt/sources.list" "$2"
umount "$2/root"
cd "$2" && rm -rf files work root`

// offerUpgrade has the apt of a server of Debian 12 know Debian 13, which it upgrades to
// without a network. It comes from a mirror of Debian the first time on this machine.
func (s *Server) offerUpgrade(ctx context.Context) error {
	name, err := upgradeOf(ctx, s.release)
	if err != nil {
		return err
	}
	_, err = s.Exec(ctx, "sh", "-ec", `cp "$0/sources.list" /etc/apt; rm -rf /var/lib/apt/lists
		cp -r "$0/lists" /var/lib/apt; ln -sf "$0"/archives/* /var/cache/apt/archives`, cacheInside+"/"+name)
	return err
}

// upgradeOf makes the files for the upgrade of a release in the cache, unless they are
// there, and returns their name in it.
func upgradeOf(ctx context.Context, r Release) (name string, err error) {
	root, err := r.root(ctx)
	if err != nil {
		return "", err
	}
	from, err := mirror(ctx)
	if err != nil {
		return "", err
	}
	name = "upgrade-" + string(r) + "-" + netwatch.Fingerprint([]byte(releasePackages + upgradeFiles))[:12]
	_, err = cached(name, func(dir string) error {
		_, err := run(ctx, "unshare", "--mount", "--propagation=private", "--",
			"nice", "sh", "-ec", upgradeFiles, "sh", root, dir, from)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("downloading the upgrade of Debian %s: %w", r, err)
	}
	return name, nil
}
