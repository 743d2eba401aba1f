//go:build lab

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// theReader is who does what contrib/mqtt/README.md says: its blocks of a language below a
// heading, in their order, with other words in place of some.
type theReader struct {
	text  string
	words *strings.Replacer
}

// mqttPackaged and mqttKept are where the package has contrib/mqtt, and the copy of who
// follows its README.
const (
	mqttPackaged = "/usr/share/doc/netwatch/examples/mqtt"
	mqttKept     = "/root/netwatch-mqtt"
)

// reads has the files of contrib/mqtt in the server, as who follows its README has them.
func reads(t *testing.T, words ...string) *theReader {
	t.Helper()
	must(t, install())
	undo(t, "rm -rf "+mqttKept)
	text, err := os.ReadFile(server.path(mqttPackaged + "/README.md"))
	must(t, err)
	r := &theReader{string(text), strings.NewReplacer(words...)}
	r.does(t, r.blocks(t, "The files", "sh")...)
	return r
}

func (r *theReader) blocks(t *testing.T, heading, language string) (all []string) {
	t.Helper()
	_, section, is := strings.Cut(r.text, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for part := range strings.SplitSeq(section, "\n```"+language+"\n") {
		block, _, _ := strings.Cut(part, "\n```")
		all = append(all, r.words.Replace(block)+"\n")
	}
	if !is || len(all) < 2 {
		t.Fatalf("the README has no %s below %s", language, heading)
	}
	return all[1:]
}

// does runs commands as they stand, from first to last. There is no internet to install from,
// and no YunoHost: what they are told is kept.
func (r *theReader) does(t *testing.T, blocks ...string) {
	t.Helper()
	shell(t, "[ ! -d "+mqttKept+" ] || cd "+mqttKept+"; set -e; apt() { echo apt $* >>/run/told; }\n"+
		"yunohost() { echo yunohost $* >>/run/told; }\n"+strings.Join(blocks, ""))
}

// addressed are the words of who has no name for his broker.
var addressed = []string{
	"DNS:broker.example.org", "IP:" + Private.String(), "broker.example.org", Private.String(),
}

// joins has a machine in a network with what the README says for it, but for where its files
// and the STUN servers are.
func (r *theReader) joins(t *testing.T, name, namespace, sections string) *machine {
	t.Helper()
	dir := server.path(mqttKept)
	sections = strings.NewReplacer("/etc/netwatch/mqtt.password", dir+"/"+name+".password", "/etc/netwatch/broker.crt",
		dir+"/fullchain.pem", "[source.stun]", sourceStun("5s", false)).Replace(sections)
	m := &machine{name: name, namespace: namespace, config: filepath.Join(t.TempDir(), "netwatch.toml")}
	daemon := fmt.Sprintf("[daemon]\nsocket = \"%[1]s/s/socket\"\nstate = \"%[1]s/state\"\n", filepath.Dir(m.config))
	must(t, os.WriteFile(m.config, []byte(daemon+sections), 0o600))
	t.Cleanup(func() { must(t, m.stop(os.Kill)) })
	m.start(t)
	return m
}

// From nothing to three machines that hear each other, with the commands of contrib/mqtt as
// they stand, and no other.
func TestReadmeOfMachines(t *testing.T) {
	fresh(t, YunoHost)
	must(t, server.AddPackages(t.Context(), "mosquitto", "mosquitto-clients"))
	undo(t, "systemctl stop mosquitto.service; rm -f /etc/mosquitto/conf.d/netwatch.conf; "+
		"systemctl disable netwatch.service")
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	both := []string{"DNS:broker.example.org", "IP:" + Private.String() + ",IP:" + Public6.String()}
	r := reads(t, append(both, addressed...)...)
	began := time.Now()
	r.does(t, r.blocks(t, "The broker", "sh")...)
	here := r.blocks(t, "Each machine", "sh")
	r.does(t, here[0])
	sections := r.blocks(t, "Each machine", "toml")
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h")+sections[1]+sections[2], 0o644))
	shell(t, "systemctl stop netwatch.service") // The package starts nothing
	r.does(t, here[1])
	gateway := r.joins(t, "gateway", world.Router, sections[0])
	says(t, "netwatch status", "peer gateway", "here since")
	t.Logf("from nothing to the gateway: %s", time.Since(began))
	gateway.says(t, "status", "peer turn1", "here since")
	outside := strings.Replace(r.blocks(t, "From outside", "toml")[0], Private.String(), "["+Public6.String()+"]", 1)
	r.joins(t, "vps", newBeyond(t), outside).says(t, "status", "serves turn1", "peer turn1", FirstPublic.String())
	says(t, "netwatch status", "peer vps", Beyond.String())
	says(t, "netwatch history", "peer-changed from mqtt peer=gateway told=started", "probe stun: ")
	brokerWell(t)
	inNetwork := r.blocks(t, "The broker on a machine of these", "")
	r.does(t, "cat >>"+brokerConf+" <<'END'\n"+inNetwork[0]+"END\nsystemctl restart mosquitto.service\n",
		`sed -i -e 's|^broker .*|broker = "mqtt://127.0.0.1"|' -e '/^ca /d' /etc/netwatch/netwatch.toml`+"\n", here[1])
	says(t, "netwatch status", "peer gateway", "here since")
	says(t, "netwatch doctor || true", "broker mqtt://127.0.0.1:1883: it is reached, and each machine speaks for itself")
	must(t, gateway.stop(os.Kill))
	says(t, "netwatch status", "peer gateway", "lost since")
	r.does(t, r.blocks(t, "A machine that is no more", "sh")...)
	says(t, "netwatch status | grep -c 'peer gateway' || true", "0")
}

// theApp is what YunoHost's app mosquitto 2.1.2~ynh1 leaves when TLS is chosen in its panel,
// made by hand after its scripts: the file that install, panel and upgrade write, its one
// user, and all of /etc/mosquitto its own. It has mosquitto from mosquitto.org; this is
// Debian's.
const theApp = `
cat >/etc/mosquitto/conf.d/default.conf <<'END'
log_timestamp_format %Y-%m-%dT%H:%M:%S
listener 8883
certfile /etc/yunohost/certs/DOMAIN/crt.pem
cafile /etc/yunohost/certs/DOMAIN/crt.pem
keyfile /etc/yunohost/certs/DOMAIN/key.pem
listener 1883 127.0.0.1
listener 8884
protocol websockets
certfile /etc/yunohost/certs/DOMAIN/crt.pem
cafile /etc/yunohost/certs/DOMAIN/crt.pem
keyfile /etc/yunohost/certs/DOMAIN/key.pem
allow_anonymous false
password_file /etc/mosquitto/passwd
END
groupadd -f ssl-cert
usermod -a -G ssl-cert mosquitto
touch /etc/mosquitto/passwd
mosquitto_passwd -b /etc/mosquitto/passwd mosquitto secret
chown -R mosquitto:mosquitto /etc/mosquitto
chmod 600 /etc/mosquitto/passwd
systemctl restart mosquitto.service
`

// withTheApp has a domain with its certificate and the app in the server.
func withTheApp(t *testing.T) (domain string) {
	t.Helper()
	domain = Private.String() // No name is known everywhere in the lab
	pair, err := NewPair(domain)
	must(t, err)
	shell(t, "groupadd -f ssl-cert; install -d -m 750 -g ssl-cert /etc/yunohost/certs/"+domain)
	must(t, server.WriteFile("/etc/yunohost/certs/"+domain+"/crt.pem", pair.Cert, 0o640))
	must(t, server.WriteFile("/etc/yunohost/certs/"+domain+"/key.pem", pair.Key, 0o640))
	shell(t, "chgrp -R ssl-cert /etc/yunohost/certs/"+domain)
	must(t, server.AddPackages(t.Context(), "mosquitto", "mosquitto-clients"))
	undo(t, "systemctl stop mosquitto.service; rm -f /etc/mosquitto/conf.d/default.conf /etc/mosquitto/passwd")
	shell(t, strings.ReplaceAll(theApp, "DOMAIN", domain))
	return domain
}

// appServes fails when a device of the app's cannot say and hear what it wants any more.
func appServes(t *testing.T) {
	t.Helper()
	const way = " -V 5 -q 1 -h 127.0.0.1 -u mosquitto -P secret -t home/light"
	shell(t, "mosquitto_pub"+way+" -r -m on")
	says(t, "mosquitto_sub -W 5 -C 1"+way, "on")
}

// Beside YunoHost's app mosquitto the machines have a broker of their own, which knows
// nothing of the app and the app nothing of it: neither an upgrade nor the panel, which
// empties the file of users, nor a renewed certificate is noticed by the machines. Nothing
// is left of it afterwards.
func TestReadmeOnYunoHost(t *testing.T) {
	fresh(t, YunoHost)
	domain := withTheApp(t)
	r := reads(t, append([]string{"mqtts://broker.example.org\"", "mqtts://" + domain + ":8885\""}, addressed...)...)
	before := shell(t, "cat /etc/mosquitto/conf.d/default.conf /etc/mosquitto/passwd")
	blocks := r.blocks(t, "On a YunoHost", "sh")
	r.does(t, blocks[0], "cp /etc/yunohost/certs/"+domain+"/crt.pem fullchain.pem\n")
	undo(t, "systemctl disable --now netwatch-broker.service; rm -rf /etc/netwatch-broker")
	here, sections := r.blocks(t, "Each machine", "sh"), r.blocks(t, "Each machine", "toml")
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	renews := r.blocks(t, "On a YunoHost", "toml")[0]
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h")+sections[1]+renews, 0o644))
	r.does(t, here...)
	gateway := r.joins(t, "gateway", world.Router, sections[0])
	gateway.says(t, "status", "peer turn1", "here since")
	says(t, "cat /run/told", "yunohost firewall allow TCP 8885 --no-upnp")
	appServes(t)
	shell(t, strings.ReplaceAll(theApp, "DOMAIN", domain)) // An upgrade does it all again
	shell(t, "rm /etc/mosquitto/passwd"+strings.ReplaceAll(theApp, "DOMAIN", domain))
	appServes(t)
	pair, err := NewPair(domain)
	must(t, err)
	must(t, server.WriteFile("/etc/yunohost/certs/"+domain+"/key.pem", pair.Key, 0o640))
	must(t, server.WriteFile("/etc/yunohost/certs/"+domain+"/crt.pem", pair.Cert, 0o640))
	hook, err := os.ReadFile(filepath.Join("..", "contrib", "yunohost", "50-netwatch"))
	must(t, err)
	must(t, server.WriteFile("/root/50-netwatch", string(hook), 0o755))
	shell(t, "/root/50-netwatch "+domain)
	says(t, "netwatch history", "reload netwatch-broker.service: changed", "verify tls "+domain+":8885: ")
	says(t, "netwatch status", "peer gateway", "here since")
	if text := shell(t, "netwatch history"); strings.Contains(text, "peer-lost") || strings.Contains(text, "failed") {
		t.Errorf("something was noticed:\n%s", text)
	}
	r.does(t, blocks[1])
	after := shell(t, "cat /etc/mosquitto/conf.d/default.conf; sed s/:.*/:/ /etc/mosquitto/passwd")
	if diff := cmp.Diff(strings.Split(before, "mosquitto:")[0], strings.Split(after, "mosquitto:")[0]); diff != "" {
		t.Errorf("of the app something is another: %s", diff)
	}
}
