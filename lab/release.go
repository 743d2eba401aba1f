package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"netwatch"
)

// A Release is the Debian that a server runs.
type Release string

// The releases of a lab. What is said here of systemd was so in November 2026.
const (
	// Here is this machine's, with all that is installed on it.
	Here Release = ""
	// Bookworm is Debian 12, with what netwatch needs alone: systemd 252.
	Bookworm Release = "bookworm"
	// Trixie is Debian 13: systemd 257.
	Trixie Release = "trixie"
	// Sid is the Debian that is to be: systemd 262. It is as old as the cache.
	Sid Release = "sid"
	// Broker is Debian 13 with dbus-broker in the place of dbus-daemon.
	Broker Release = "trixie-dbus-broker"
)

// suite is what debootstrap calls the release, and more a package that it has beside
// those of every release.
func (r Release) suite() (suite, more string) {
	suite, more, _ = strings.Cut(string(r), "-")
	return suite, more
}

// releasePackages are what a server of another release has beside the packages
// that no Debian is without.
const releasePackages = "acl,attr,certbot,coturn,cron,curl,dbus,iproute2,libpam-systemd,openssl,openvpn,pebble," +
	"perl,polkitd,procps,python3,python3-cffi-backend,systemd-sysv"

// root is the directory over which the overlay of a server of this release is
// laid. That of another release than ours is made the first time on this machine,
// which takes a minute and a mirror of Debian.
func (r Release) root(ctx context.Context) (string, error) {
	if r == Here {
		return "/", nil
	}
	name := string(r) + "-" + netwatch.Fingerprint([]byte(releasePackages))[:12]
	dir, err := cached(name, func(dir string) error { return r.install(ctx, dir) })
	if err != nil {
		return "", fmt.Errorf("installing Debian %s: %w", r, err)
	}
	return dir, nil
}

// install installs the release into a directory. What debootstrap(8) mounts in
// there goes with its mount namespace, also when it is killed.
func (r Release) install(ctx context.Context, dir string) error {
	from, err := mirror(ctx)
	if err != nil {
		return err
	}
	suite, more := r.suite()
	_, err = run(ctx, "unshare", "--mount", "--propagation=private", "--",
		"nice", "debootstrap", "--variant=minbase", "--include="+strings.Trim(releasePackages+","+more, ","),
		suite, dir, from)
	if err != nil {
		return netwatch.WithHint(err, "make deps installs debootstrap; "+dir+"/debootstrap/debootstrap.log says more")
	}
	return nil
}

// python is the version of its Python, as 3.13.
func (r Release) python(ctx context.Context) (string, error) {
	root, err := r.root(ctx)
	if err != nil {
		return "", err
	}
	version, err := run(ctx, "chroot", root, "python3", "-c", `import sys; print("%d.%d" % sys.version_info[:2])`)
	if err != nil {
		return "", fmt.Errorf("asking for the Python of Debian %s: %w", r, err)
	}
	return version, nil
}

// mirror is where apt gets this machine's Debian from, which has the others too.
func mirror(ctx context.Context) (string, error) {
	sites, err := run(ctx, "apt-get", "indextargets", "--format=$(SITE)",
		"Created-By: Packages", "Component: main", "Origin: Debian", "Label: Debian")
	if err != nil {
		return "", fmt.Errorf("looking for a mirror: %w", err)
	}
	site, _, _ := strings.Cut(sites, "\n")
	if site == "" {
		return "", netwatch.WithHint(errors.New("looking for a mirror: apt knows none"), "apt-get update")
	}
	return site, nil
}
