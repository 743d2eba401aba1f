package lab

import (
	"context"
	"fmt"
)

// UseBroker has the server's bus be dbus-broker, as on Debian where it is installed.
// It comes from the mirror of this machine's Debian the first time.
func (s *Server) UseBroker(ctx context.Context) error {
	dir, err := cached("dbus-broker", func(dir string) error {
		_, err := run(ctx, "sh", "-ec", `cd "$1"; apt-get -qq download dbus-broker; dpkg -x *.deb .; rm *.deb`, "sh", dir)
		return err
	})
	if err != nil {
		return fmt.Errorf("getting dbus-broker: %w", err)
	}
	// There /lib is a link to usr/lib, and in the package it is none.
	const copies = `cp -a "$1/usr/." "$2/usr/"; cp -a "$1/lib/." "$2/usr/lib/"`
	if _, err := run(ctx, "sh", "-ec", copies, "sh", dir, s.root); err != nil {
		return fmt.Errorf("installing dbus-broker: %w", err)
	}
	_, err = s.Exec(ctx, "sh", "-ec", `ln -sf /lib/systemd/system/dbus-broker.service /etc/systemd/system/dbus.service
		systemctl stop dbus.socket dbus.service || true; systemctl daemon-reload; systemctl start dbus.socket dbus.service
		systemctl is-active dbus-broker.service`)
	if err != nil {
		return fmt.Errorf("starting dbus-broker: %w", err)
	}
	return nil
}
