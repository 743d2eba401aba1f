package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"netwatch"
	"netwatch/control"
	"netwatch/sources"
)

// checkBroker looks whether the broker keeps machines from doing harm to each other. Only the
// daemon is connected, and finds it out; that it is not is among its troubles.
func checkBroker(ctx context.Context, s *scene) (found []Finding) {
	if s.Probe == nil || !s.cfg.Tells() {
		return nil
	}
	p, err := s.Probe(ctx)
	if err != nil {
		return []Finding{wrong(Unknown, "broker", err)}
	}
	for _, b := range p.Brokers {
		found = append(found, judgeBroker(b, p, time.Now())...)
	}
	return found
}

// judgeBroker says what is wrong with a broker, and that all is well when nothing is.
func judgeBroker(b netwatch.Broker, p control.Probed, now time.Time) (found []Finding) {
	what := "broker " + b.Broker
	add := func(is bool, text, hint string) {
		if is {
			found = append(found, Finding{Warning, what, text, hint})
		}
	}
	add(b.Open, "the password and all that machines say go there without TLS, beyond private networks",
		fmt.Sprintf("give it TLS, as README.md in /usr/share/doc/netwatch/examples/mqtt has it (or in "+
			"/usr/local/share, and in the sources contrib/mqtt), and write it in [source.%s] as mqtts://", b.Source))
	add(b.Speaks == netwatch.Yes, "any machine can speak for any other", netwatch.BrokerRights(b.Topic))
	add(b.Overhears == netwatch.Yes, "any machine hears what is asked of any other, with the credentials in it",
		netwatch.BrokerRights(b.Topic))
	add(b.Names == netwatch.No, "any machine can connect by the name of any other, and so throws it out",
		"write below the listener in the broker's configuration: use_username_as_clientid true; "+
			"then systemctl restart mosquitto.service")
	add(b.Names == netwatch.Yes && b.User != b.Host,
		fmt.Sprintf("it knows us as %s, and we are called %s", b.User, b.Host),
		fmt.Sprintf("write host = %q in [source.%s], or give it a user of that name", b.User, b.Source))
	found = append(found, judgeBrokerCertificate(b, now)...)
	if found != nil || p.Error != "" {
		return found
	}
	if slices.Contains([]netwatch.Answer{b.Speaks, b.Overhears, b.Names}, netwatch.Unanswered) {
		return []Finding{{Unknown, what, "it is reached; what it lets machines do could not be found out", ""}}
	}
	return []Finding{{OK, what, "it is reached, and each machine speaks for itself alone", ""}}
}

// judgeBrokerCertificate says what is wrong with the certificate that a broker has now.
func judgeBrokerCertificate(b netwatch.Broker, now time.Time) []Finding {
	what, day := "broker "+b.Broker, b.Until.Format(time.DateOnly)
	const hint = "on its machine: certbot renew, or yunohost domain cert renew DOMAIN; then put it in the broker's " +
		"place, and systemctl reload mosquitto.service"
	switch {
	case b.Certificate != "": // While there is a connection nothing else says it
		return []Finding{{Problem, what, "whoever connects to it now is in vain: " + b.Certificate, hint}}
	case !b.Until.IsZero() && b.Until.Sub(now) < certSoon:
		return []Finding{{Warning, what, "its certificate expires soon: it is good until " + day, hint}}
	}
	return nil
}

// longGone is after what time a machine that is gone may be one that is no more.
const longGone = 30 * 24 * time.Hour

// forgetting is how a machine that is no more is forgotten.
func (s *scene) forgetting(host string) string {
	for _, source := range s.cfg.Sources {
		if m, is := source.Settings.(sources.Telling); is {
			return m.Forgetting(host)
		}
	}
	return ""
}
