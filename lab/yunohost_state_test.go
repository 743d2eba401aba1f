//go:build lab

package lab

import (
	"strings"
	"testing"
)

// The state is backed up while it changes, and what lies in it with the rights of whose it
// is; and it is restored as his where somebody else has the number that he had.
func TestYunoHostAppStateIsNetwatchs(t *testing.T) {
	onYunoHostWithApp(t)
	does(t, "1.0", "install")
	idle(t, FirstPublic)
	shell(t, "install -d "+ynhApp("1.0")+"/settings; ln -s ../scripts "+ynhApp("1.0")+"/settings/scripts")
	shell(t, `systemd-run -q --unit=changing -p User=netwatch -p WorkingDirectory=/var/lib/netwatch sh -c \
		'while :; do for i in 1 2 3 4 5 6 7 8; do : >x$i; done; rm x*; done'`)
	for range 20 {
		does(t, "1.0", "backup")
	}
	shell(t, "systemctl stop changing; rm -f /var/lib/netwatch/x*; "+
		"runuser -u netwatch -- ln -s /etc/shadow /var/lib/netwatch/link")
	does(t, "1.0", "backup")
	id := strings.TrimSpace(shell(t, "id -u netwatch"))
	does(t, "1.0", "remove")
	shell(t, "useradd --system --uid "+id+" another; touch -d 'now - 1 hour' /etc/shadow")
	does(t, "1.0", "restore")
	idle(t, FirstPublic)
	shell(t, "test -h /var/lib/netwatch/link; test -z \"$(find /var/lib/netwatch ! -user netwatch)\"")
	if said := shell(t, "netwatch history --event started"); strings.Count(said, "started") < 2 {
		t.Errorf("the history is a new one:\n%s", said)
	}
}
