package sources

import (
	"fmt"
	"strings"

	"github.com/eclipse/paho.golang/packets"

	"netwatch"
)

// A reason is why a broker refuses something, in words, and what helps.
type reason struct{ word, hint string }

// What helps against several of them.
const (
	seeLog = "see the broker's log, on its machine; mosquitto's is /var/log/mosquitto/mosquitto.log"
	isIt   = "see whether a broker for MQTT 5 listens there"
	later  = "netwatch tries again by itself; " + seeLog
)

// reasons are those of MQTT 5, 2.4, which are failures from 128 on.
var reasons = map[byte]reason{
	packets.ConnackUnspecifiedError:            {"an error that it does not name", seeLog},
	packets.ConnackMalformedPacket:             {"it does not understand us", isIt},
	packets.ConnackProtocolError:               {"it does not understand us", isIt},
	packets.ConnackImplementationSpecificError: {"it does not take that", seeLog},
	packets.ConnackUnsupportedProtocolVersion:  {"it does not speak MQTT 5", "mosquitto does from 1.6 on"},
	packets.ConnackInvalidClientID: {
		"it does not take the name {host}", "let it take {host} as a client id, or write another host in [source.{source}]",
	},
	packets.ConnackBadUsernameOrPassword: {
		"wrong user or password", "compare user {user} and its password with the broker's: mosquitto_passwd sets one, and " +
			"systemctl reload mosquitto.service has it read",
	},
	packets.ConnackNotAuthorized:           {"not permitted", "{rights}"},
	packets.ConnackServerUnavailable:       {"it is not available", later},
	packets.ConnackServerBusy:              {"it is busy", later},
	packets.ConnackBanned:                  {"user {user} is banned", "lift the ban at the broker"},
	packets.DisconnectServerShuttingDown:   {"it is being stopped", later},
	packets.ConnackBadAuthenticationMethod: {"it wants another way to log in", "let it take user and password"},
	packets.DisconnectKeepAliveTimeout:     {"it has not heard us for too long", "see whether packets are lost"},
	packets.DisconnectSessionTakenOver: {
		"another connected as {host}", "give each machine a host of its own in [source.{source}]",
	},
	packets.ConnackTopicNameInvalid: {
		"it does not take the topic {topic}/{host}/state", "let it take that, or write another topic in [source.{source}]",
	},
	packets.ConnackPacketTooLarge: {
		"what we say is too large", "let it take as much: in mosquitto.conf max_packet_size 20480 and " +
			"message_size_limit 16384 at least, or neither",
	},
	packets.DisconnectMessageRateTooHigh:     {"we say too much at once", later},
	packets.ConnackQuotaExceeded:             {"a quota is used up", "let user {user} have more there"},
	packets.DisconnectAdministrativeAction:   {"somebody had it end that", later},
	packets.ConnackPayloadFormatInvalid:      {"it does not take that", seeLog},
	packets.ConnackRetainNotSupported:        {"it keeps no messages", "let it: in mosquitto.conf retain_available true"},
	packets.ConnackQoSNotSupported:           {"it does not take QoS 1", "let it: in mosquitto.conf max_qos 1 or 2"},
	packets.ConnackUseAnotherServer:          {"it sends us to another broker", "name that in [source.{source}]"},
	packets.ConnackServerMoved:               {"it sends us to another broker", "name that in [source.{source}]"},
	packets.ConnackConnectionRateExceeded:    {"we come too often", later},
	packets.DisconnectMaximumConnectTime:     {"the connection lasted too long", later},
	packets.DisconnectReceiveMaximumExceeded: {"we say too much at once", later},
}

// toConnect is what a broker refuses that takes nobody.
const toConnect = "connecting to it"

// refused says that the broker would not, by the reason that it gave. Of who connects no
// broker looks yet what it may: mosquitto says so of a wrong password.
func (s *mqtt) refused(what string, code byte) error {
	why, known := reasons[code]
	if !known {
		why = reason{fmt.Sprintf("reason %d", code), seeLog}
	}
	if what == toConnect && code == packets.ConnackNotAuthorized {
		why.hint = reasons[packets.ConnackBadUsernameOrPassword].hint
	}
	mine := strings.NewReplacer("{user}", s.settings.user(), "{host}", string(s.settings.Host),
		"{topic}", string(s.settings.Topic), "{source}", s.name, "{rights}", netwatch.BrokerRights(string(s.settings.Topic)))
	err := fmt.Errorf("the broker %s refuses %s: %s", s.settings.Broker, what, mine.Replace(why.word))
	return netwatch.WithHint(err, mine.Replace(why.hint))
}
