package lab

import (
	"context"
	"fmt"
	"path/filepath"
)

// podmanFiles installs Debian's Podman over a release's root, given the root and the
// directory that is to have what that adds.
const podmanFiles = `mkdir "$2/files" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/files,workdir=$2/work" overlay "$2/root"
cp /etc/resolv.conf "$2/root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$2/root/usr/sbin/policy-rc.d" && chmod 755 "$2/root/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive
chroot "$2/root" apt-get -qq update
chroot "$2/root" apt-get -qq -y --no-install-recommends install podman crun nftables
umount "$2/root"
cd "$2" && rm -rf work root files/var/cache files/var/lib/apt files/etc/resolv.conf files/usr/sbin/policy-rc.d
find files -type c -delete # What is gone`

// podmanConf has Podman do without what a server of the lab has not: a key ring, limits,
// kernel settings of its own, and a file system for layers.
const podmanConf = `cd /etc/containers
printf '[containers]\nkeyring = false\npids_limit = 0\ndefault_sysctls = []\n' >containers.conf
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\n' >storage.conf
printf 'graphroot = "/var/lib/containers/storage"\n' >>storage.conf
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >policy.json
ldconfig; systemctl daemon-reload`

// InstallPodman puts Podman into a server of another release than this machine's. It
// comes from a mirror of Debian the first time on this machine.
func (s *Server) InstallPodman(ctx context.Context) error {
	name, err := s.release.podman(ctx)
	if err != nil {
		return err
	}
	_, err = s.Exec(ctx, "sh", "-ec", "cp -a "+filepath.Join(cacheInside, name, "files")+"/. /\n"+podmanConf)
	return err
}

// podman makes the files of Podman in the cache, unless they are there, and returns
// their name in it.
func (r Release) podman(ctx context.Context) (name string, err error) {
	root, err := r.root(ctx)
	if err != nil {
		return "", err
	}
	name = "podman-nft-" + filepath.Base(root)
	_, err = cached(name, func(dir string) error {
		_, err := run(ctx, "unshare", "--mount", "--propagation=private", "--",
			"nice", "sh", "-ec", podmanFiles, "sh", root, dir)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("installing Podman: %w", err)
	}
	return name, nil
}
