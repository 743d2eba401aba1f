package servers

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"netwatch"
	"netwatch/edit"
)

// number is a port in a file of YAML. What is none is left out.
type number uint16

// UnmarshalYAML takes what is a port.
func (n *number) UnmarshalYAML(value *yaml.Node) error {
	var is uint16
	if value.Decode(&is) == nil {
		*n = number(is)
	}
	return nil
}

// waysIn are ports and spans of them, as a router names them: 3478/udp.
type waysIn []string

// add adds a port unless it is 0; over is udp or tcp.
func (w *waysIn) add(port number, over string) {
	if port != 0 {
		*w = append(*w, fmt.Sprintf("%d/%s", port, over))
	}
}

func (w *waysIn) span(from, to number) {
	if from != 0 && to != 0 {
		*w = append(*w, fmt.Sprintf("%d-%d/udp", from, to))
	}
}

// span is the first span of ports among them, without what it is over.
func span(all []string) string {
	for _, ports := range all {
		if strings.Contains(ports, "-") {
			return strings.TrimSuffix(ports, "/udp")
		}
	}
	return ""
}

// livekitFileSays is what matters here of a file of LiveKit.
type livekitFileSays struct {
	Port number `yaml:"port"`
	RTC  struct {
		TCP  *number `yaml:"tcp_port"`
		UDP  number  `yaml:"udp_port"`
		From number  `yaml:"port_range_start"`
		To   number  `yaml:"port_range_end"`
	} `yaml:"rtc"`
	Turn struct {
		Enabled  bool   `yaml:"enabled"`
		File     string `yaml:"cert_file"`
		Key      string `yaml:"key_file"`
		TLS      number `yaml:"tls_port"`
		UDP      number `yaml:"udp_port"`
		External bool   `yaml:"external_tls"`
		From     number `yaml:"relay_range_start"`
		To       number `yaml:"relay_range_end"`
	} `yaml:"turn"`
}

func livekitSays(conf []byte) (says livekitFileSays) {
	_ = understand(conf, "it", &says) // As far as it can be read
	return says
}

// livekitPorts are those of LiveKit; what its file does not name is as it was seen with
// 1.9.11.
func livekitPorts(conf []byte) []string {
	var all waysIn
	says := livekitSays(conf)
	all.add(cmp.Or(says.Port, defaultCallPort), "tcp")
	tcp := number(defaultCallPort + 1)
	if says.RTC.TCP != nil {
		tcp = *says.RTC.TCP
	}
	all.add(tcp, "tcp")
	all.add(says.RTC.UDP, "udp")
	all.span(says.RTC.From, says.RTC.To)
	if says.Turn.Enabled {
		all.add(says.Turn.TLS, "tcp")
		all.add(says.Turn.UDP, "udp")
	}
	return all
}

// The ports that the TURN server in LiveKit relays from where its file names none (read in
// its source).
const callsFrom, callsTo = 30000, 40000

// livekitSpan are those that it relays from.
func livekitSpan(conf []byte) string {
	turn := livekitSays(conf).Turn
	return fmt.Sprintf("%d-%d", cmp.Or(turn.From, callsFrom), cmp.Or(turn.To, callsTo))
}

// livekitCertificate is that of the TURN server in LiveKit, where it speaks TLS itself.
func livekitCertificate(conf []byte) (file, key string) {
	turn := livekitSays(conf).Turn
	if !turn.Enabled || turn.TLS == 0 || turn.External || !path.IsAbs(turn.File) {
		return "", ""
	}
	return turn.File, turn.Key
}

// A listener is one of eturnal or ejabberd.
type listener struct {
	Module    string `yaml:"module"`
	Port      number `yaml:"port"`
	Transport string `yaml:"transport"`
	From      number `yaml:"turn_min_port"`
	To        number `yaml:"turn_max_port"`
}

// add adds the port of a listener: over UDP unless it says another.
func (l listener) add(all *waysIn) {
	over := "tcp"
	if l.Transport == "" || l.Transport == "udp" {
		over = "udp"
	}
	all.add(cmp.Or(l.Port, DefaultPort), over)
}

// relayed are the ports between which both lend relays where nothing else is said (read in
// their source).
const relayedFrom, relayedTo = 49152, 65535

func eturnalPorts(conf []byte) []string {
	var all waysIn
	var says struct {
		Eturnal struct {
			Listen []listener `yaml:"listen"`
			From   number     `yaml:"relay_min_port"`
			To     number     `yaml:"relay_max_port"`
		} `yaml:"eturnal"`
	}
	_ = understand(conf, "it", &says) // As far as it can be read
	for _, l := range says.Eturnal.Listen {
		l.add(&all)
	}
	if all == nil {
		all = waysIn{"3478/udp", "3478/tcp"}
	}
	all.span(cmp.Or(says.Eturnal.From, relayedFrom), cmp.Or(says.Eturnal.To, relayedTo))
	return all
}

func ejabberdPorts(conf []byte) []string {
	var all waysIn
	var says struct {
		Listen []listener `yaml:"listen"`
	}
	_ = understand(conf, "it", &says) // As far as it can be read
	for _, l := range says.Listen {
		if l.Module == "ejabberd_stun" {
			l.add(&all)
			all.span(cmp.Or(l.From, relayedFrom), cmp.Or(l.To, relayedTo))
		}
	}
	return all
}

// janusPorts are those of media; by what else it is asked its plugins say.
func janusPorts(conf []byte) []string {
	span, _ := edit.Libconfig.Get(conf, "media.rtp_port_range") // None is none
	return mediaPorts(span.Text)
}

func rtpenginePorts(conf []byte) []string {
	from, _ := edit.INI.Get(conf, "rtpengine.port-min") // None is none
	to, _ := edit.INI.Get(conf, "rtpengine.port-max")
	return mediaPorts(from.Text + "-" + to.Text)
}

// portSpan is what is printed: a file can say whatever it likes.
var portSpan = netwatch.Pattern(`^[0-9]{1,5}-[0-9]{1,5}$`)

func mediaPorts(span string) []string {
	if !portSpan().MatchString(span) {
		return nil
	}
	return []string{span + "/udp"}
}
