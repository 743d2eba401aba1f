//go:build lab

package lab

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	brokerConf = "/etc/mosquitto/conf.d/netwatch.conf"
	brokerACL  = "/etc/mosquitto/netwatch.acl"
)

// theBroker is what doctor warns of, with these words.
func theBroker(found string) finding {
	return finding{Level: "warning", What: fmt.Sprintf("broker mqtts://%s:%d", Private, brokerPort), Found: found}
}

// brokerWell waits until doctor has nothing to say of the broker.
func brokerWell(t *testing.T) {
	t.Helper()
	says(t, "netwatch doctor || true", "mqtts://192.168.50.2:8883: it is reached, and each machine speaks for itself")
}

// pasteRights does as a remedy says: the lines of the ACL, and the command after them.
func pasteRights(t *testing.T, hint string) {
	t.Helper()
	_, lines, _ := strings.Cut(hint, "ACL for these users: ")
	lines, command, _ := strings.Cut(lines, "; then ")
	if !strings.HasPrefix(command, "systemctl reload") {
		t.Fatalf("no ACL and no command: %q", hint)
	}
	must(t, server.WriteFile(brokerACL, strings.ReplaceAll(lines, "; ", "\n")+"\n", 0o644))
	shell(t, command)
}

// An ACL that lets machines do more than they should, or less than they must, is found, and
// its remedy mends it without more than it says.
func TestDoctorFindsBrokerACL(t *testing.T) {
	threeMachines(t)
	brokerWell(t)
	for _, c := range []struct {
		name, acl string
		wants     []finding
	}{
		{"everything", "pattern readwrite netwatch/#", []finding{
			theBroker("any machine can speak for any other"), theBroker("hears what is asked of any other"),
		}},
		{"states of others", "pattern write netwatch/%u/#\npattern readwrite netwatch/+/state", []finding{
			theBroker("any machine can speak for any other"),
		}},
		{"all may be read", "pattern write netwatch/%u/#\npattern read netwatch/#", []finding{
			theBroker("hears what is asked of any other"),
		}},
		{
			"answers may be read",
			"pattern write netwatch/%u/#\npattern read netwatch/+/state\npattern read netwatch/+/answer/#",
			[]finding{theBroker("hears what is asked of any other")},
		},
		{"nothing may be read", "pattern write netwatch/%u/#", []finding{
			{Level: "problem", What: "source mqtt", Found: "does not let us hear what is said at netwatch/+/state"},
		}},
		{"nothing may be written", "pattern read netwatch/#", []finding{
			{Level: "problem", What: "source mqtt", Found: "refuses to take netwatch/turn/state: not permitted"},
		}},
	} {
		t.Log(c.name)
		must(t, server.WriteFile(brokerACL, c.acl+"\n", 0o644))
		shell(t, "systemctl restart mosquitto.service")
		hint := ""
		for _, want := range c.wants {
			says(t, "netwatch doctor || true", want.Found)
			hint = among(t, want).Hint
		}
		pasteRights(t, hint)
		says(t, "netwatch status | grep -c 'source mqtt *watching$'", "1") // By itself
		brokerWell(t)
	}
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	if text := shell(t, "netwatch history"); strings.Contains(text, "Nobody") {
		t.Errorf("doctor was heard by others:\n%s", text)
	}
}

// A broker that lets each be called as any other is found, and is well after the remedy;
// meanwhile machines are connected by their own names.
func TestDoctorFindsBrokerNames(t *testing.T) {
	threeMachines(t)
	shell(t, "sed -i /^use_username/d "+brokerConf+"; systemctl restart mosquitto.service")
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	f := among(t, theBroker("connect by the name of any other"))
	_, line, _ := strings.Cut(f.Hint, "the broker's configuration: ")
	line, command, _ := strings.Cut(line, "; then ")
	shell(t, fmt.Sprintf("sed -i '/^listener /a %s' %s; %s", line, brokerConf, command))
	brokerWell(t)
}

// A broker without TLS beyond private networks is found, where somebody let it be.
func TestDoctorFindsBrokerPlain(t *testing.T) {
	threeMachines(t)
	shell(t, fmt.Sprintf("printf 'listener 1883 %s\nuse_username_as_clientid true\n' >>%s; "+
		"systemctl restart mosquitto.service", Public6, brokerConf))
	text := configuration(YunoHost, "1h") + connecting("turn", Private, "/etc/netwatch") + turnHeeds
	plain := strings.Replace(text, fmt.Sprintf("mqtts://%s:%d\"", Private, brokerPort),
		fmt.Sprintf("mqtt://[%s]\"\nplain = true", Public6), 1)
	configured(t, strings.Replace(plain, "ca = ", "# ca = ", 1))
	what := finding{Level: "warning", What: fmt.Sprintf("broker mqtt://[%s]:1883", Public6), Found: "go there without TLS"}
	says(t, "netwatch doctor || true", what.Found)
	if f := among(t, what); !strings.Contains(f.Hint, "mqtts://") {
		t.Error(f.Hint)
	}
	configured(t, text)
	brokerWell(t)
}

// The ACL of a broker that serves others already, as the README has it for Home Assistant:
// who was there goes on, but does not speak for machines.
func TestBrokerServesOthersToo(t *testing.T) {
	threeMachines(t)
	r := reads(t, addressed...)
	shell(t, "mosquitto_passwd -b /etc/mosquitto/netwatch.passwd homeassistant secret; cat >>"+brokerACL+" <<'END'\n"+
		r.blocks(t, "Home Assistant", "")[0]+"END\nsystemctl reload mosquitto.service")
	brokerWell(t)
	pub := strings.Replace(published, "-u outside -P outsideoutside", "-u homeassistant -P secret", 1)
	shell(t, pub+"-r -t home/light -m on")
	says(t, strings.Replace(pub, "mosquitto_pub", "mosquitto_sub -W 5 -C 1", 1)+"-t home/light", "on")
	if said := shell(t, pub+"-t netwatch/gateway/state -m x 2>&1 || true"); !strings.Contains(said, "Not authorized") {
		t.Errorf("it speaks for machines: %s", said)
	}
}

// What real mosquitto can be made to refuse is said, and its remedy lets it be well.
func TestDoctorFindsBrokerRefusing(t *testing.T) {
	threeMachines(t)
	for _, c := range []struct{ line, found, remedy string }{
		{"retain_available false", "refuses connecting to it: it keeps no messages", "retain_available true"},
		{"max_qos 0", "refuses connecting to it: it does not take QoS 1", "max_qos 1"},
		{"message_size_limit 20", "what we say is too large", "message_size_limit 16384"},
	} {
		shell(t, fmt.Sprintf("cp %[1]s /run/kept; sed -i -e '/^message_size/d' -e '/^listener /a %[2]s' %[1]s; "+
			"systemctl restart mosquitto.service", brokerConf, c.line))
		says(t, "netwatch status", c.found)
		f := among(t, finding{Level: "problem", What: "source mqtt", Found: c.found})
		if !strings.Contains(f.Hint, c.remedy) {
			t.Errorf("%s: %q", c.line, f.Hint)
		}
		shell(t, fmt.Sprintf("sed -i 's/^%s$/%s/' %s; systemctl restart mosquitto.service", c.line, c.remedy, brokerConf))
		brokerWell(t)
		shell(t, "cat /run/kept >"+brokerConf)
	}
}

// certifiedUntil gives the broker a certificate that ends then, and has it read it.
func certifiedUntil(t *testing.T, end time.Time) {
	t.Helper()
	pair, err := NewPair(Private.String(), Public6.String())
	must(t, err)
	block, _ := pem.Decode([]byte(pair.Key))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	is := *pair.Leaf
	is.NotBefore, is.NotAfter = time.Now().AddDate(0, -3, 0), end
	der, err := x509.CreateCertificate(rand.Reader, &is, &is, is.PublicKey, key)
	must(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for _, file := range []string{"/etc/mosquitto/certs/netwatch.crt", "/etc/netwatch/broker.crt"} {
		must(t, server.WriteFile(file, text, 0o644))
	}
	must(t, server.WriteFile("/etc/mosquitto/certs/netwatch.key", pair.Key, 0o640))
	shell(t, "chown mosquitto: /etc/mosquitto/certs/*; systemctl reload mosquitto.service")
}

// A certificate of the broker's that ends soon is found, and one that has ended while the
// connection stands: whoever connects anew is in vain. A new one and a reload are enough.
func TestDoctorFindsBrokerCertificate(t *testing.T) {
	threeMachines(t)
	certifiedUntil(t, time.Now().AddDate(0, 0, 5))
	f := among(t, theBroker("its certificate expires soon"))
	certifiedUntil(t, time.Now().AddDate(0, 0, -1))
	says(t, "netwatch doctor || true", "whoever connects to it now is in vain", "certificate has expired")
	says(t, "netwatch status", "peer gateway", "here since")
	shell(t, "systemctl restart mosquitto.service")
	says(t, "netwatch status", "reaching the broker", "certificate has expired", "hint: renew the broker's certificate")
	certifyBroker(t, Private.String(), Public6.String())
	shell(t, remedy(t, f.Hint, "systemctl reload"))
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	brokerWell(t)
}

// A machine that is gone is so since then, also after netwatch was started anew, and as
// doctor says of one that is gone for long it is forgotten.
func TestMachineForgotten(t *testing.T) {
	_, outside := threeMachines(t)
	must(t, outside.stop(syscall.SIGKILL))
	says(t, "netwatch history", "peer-lost")
	const since = "netwatch status --json | grep -o 'outside.,.state.:.lost.,.since.:.[-0-9T:.]*'"
	before := shell(t, since)
	shell(t, "systemctl restart netwatch.service")
	says(t, since, before)
	shell(t, "mosquitto_pub -V 5 -q 1 -h 192.168.50.2 -p 8883 --cafile /etc/netwatch/broker.crt -u outside "+
		"-P outsideoutside -t netwatch/outside/state -r -n")
	wait(t, time.Second)
	if text := shell(t, "netwatch status"); strings.Contains(text, "peer outside") {
		t.Errorf("it is not forgotten:\n%s", text)
	}
}
