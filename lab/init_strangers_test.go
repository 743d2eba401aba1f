//go:build lab

package lab

import (
	"strings"
	"testing"
)

// Synapse's user, who owns the file of options that YunoHost's unit of coturn has, does
// not name the file that root is to rewrite.
func TestOptionsOfAStranger(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	const env = "/etc/matrix-synapse/coturn_env"
	shell(t, "chown synapse: "+env+" /etc/matrix-synapse; runuser -u synapse -- cp "+env+" "+env+".was")
	afterwards(t, "mv "+env+".was "+env)
	shell(t, "echo 'EXTRA_OPTIONS=-c /etc/ssl/openssl.cnf' | runuser -u synapse -- tee "+env)
	out := shell(t, "netwatch init --dry-run -c /root/netwatch.toml 2>&1 || true")
	if strings.Contains(out, "rotate coturn /etc/ssl") || !strings.Contains(out, "EnvironmentFile="+env) {
		t.Errorf("it says\n%s", out)
	}
	shell(t, "echo EXTRA_OPTIONS= | runuser -u synapse -- tee "+env)
	out = shell(t, "netwatch init --dry-run -c /root/netwatch.toml 2>&1")
	if !strings.Contains(out, "rotate coturn "+YunoHost.File) {
		t.Errorf("without it, it says\n%s", out)
	}
}
