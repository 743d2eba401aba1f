//go:build lab

// netwatch init sees coturn in a container of the real Podman, and what it says to do
// works.

package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	containedConf = "/srv/turn/turnserver.conf"
	// containedRun is Podman's command for a container, given more options.
	// It has no image: the server's own files are its. A container of the lab may not
	// limit devices.
	containedRun = "podman run -d --name byhand --privileged %s --rootfs /srv/rootfs " +
		"turnserver -c /etc/coturn/turnserver.conf --pidfile= --listening-ip=127.0.0.1"
	containedMount = "-v " + containedConf + ":/etc/coturn/turnserver.conf"
	// quadlet is the same, run by a unit that Podman's generator makes.
	quadlet = "[Container]\nContainerName=turn\nRootfs=/srv/rootfs\nNetwork=host\nStopTimeout=1\n" +
		"PodmanArgs=--privileged\n" +
		"Volume=" + containedConf + ":/etc/coturn/turnserver.conf\n" +
		"Exec=turnserver -c /etc/coturn/turnserver.conf --pidfile=\n"
)

// withPodman has a server with Podman, and files for a coturn in a container.
func withPodman(t *testing.T) {
	t.Helper()
	leave, err := moveIn(t.Context(), Trixie)
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	must(t, install())
	must(t, server.InstallPodman(t.Context()))
	must(t, server.WriteFile(containedConf, CoturnConf("203.0.113.99"), 0o644))
	must(t, server.WriteFile("/etc/coturn/turnserver.conf", "", 0o644))
	must(t, server.WriteFile("/etc/containers/systemd/turn.container", quadlet, 0o644))
	shell(t, "mkdir -p /srv/rootfs && mount --bind / /srv/rootfs && systemctl daemon-reload; rm -rf /etc/netwatch")
}

// initSays wants words in what init says, which writes nothing; a coturn may just be
// being started.
func initSays(t *testing.T, want ...string) {
	t.Helper()
	says(t, "netwatch init --dry-run 2>&1; echo exit $?", want...)
}

func TestInitSeesContainers(t *testing.T) {
	withPodman(t)
	shell(t, "systemctl start turn.service")
	made := "called turn, run by turn.service, made of /etc/containers/systemd/turn.container, with " +
		"/etc/coturn/turnserver.conf, which is " + containedConf + "\n"
	rule := "+  \"rotate coturn " + containedConf + "\",\n+  \"restart turn.service\",\n" +
		"+  \"verify turn " + containedConf + "\",\n"
	initSays(t, "coturn in a container: podman ", made, rule, "exit 0")
	shell(t, fmt.Sprintf("cp %s /srv/turn/new && mv /srv/turn/new %[1]s", containedConf))
	initSays(t, made, rule, "it still has the file that was there before", "systemctl restart turn.service")
	// What it says, done, puts right what callers get.
	if said := initialize(t); strings.Contains(said, "netwatch-podman") {
		t.Errorf("what has a unit needs no other:\n%s", said)
	}
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	shell(t, "systemctl stop netwatch.socket netwatch.service turn.service; rm -rf /etc/netwatch")
	for options, want := range map[string]string{
		"--network host":                   "its /etc/coturn/turnserver.conf is in the image",
		"--network none " + containedMount: "# No verify asks as a caller does",
		"--network host " + containedMount: "+  \"restart netwatch-podman@byhand.service\",",
	} {
		shell(t, "podman rm -f -t 1 byhand; "+fmt.Sprintf(containedRun, options))
		initSays(t, "coturn in a container: podman ", "called byhand, with /etc/coturn/turnserver.conf", want)
	}
}
