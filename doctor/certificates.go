package setup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/sources"
)

// certSoon is how long before its end a certificate should have been renewed:
// YunoHost does so 15 days before, certbot 30.
const certSoon = 7 * 24 * time.Hour

// checkCertificates looks at the certificates that are watched or served: whether
// they last, and their keys fit. coturn starts without TLS, and does not say so,
// where they do not (measured).
func checkCertificates(_ context.Context, s *scene) (found []Finding) {
	var all []Certificate
	for _, source := range s.cfg.Sources {
		if c, ok := source.Settings.(*sources.Cert); ok {
			for i, file := range c.Files {
				all = append(all, Certificate{string(file), string(c.KeyOf(i))})
			}
		}
	}
	for _, c := range s.found.Served() {
		if !slices.ContainsFunc(all, func(o Certificate) bool { return o.File == c.File }) {
			all = append(all, c)
		}
	}
	for _, c := range all {
		key := c.Key
		if !path.IsAbs(key) {
			key = ""
		}
		until, err := sources.LookCert(c.File, key)
		found = append(found, judgeCertificate(c.File, until, err, time.Now()))
	}
	return found
}

func judgeCertificate(file string, until time.Time, err error, now time.Time) Finding {
	const hint = "renew it: certbot renew, or yunohost domain cert renew DOMAIN"
	day := until.Format(time.DateOnly)
	switch {
	case err != nil:
		return wrong(Problem, file, err)
	case !until.After(now):
		return Finding{Problem, file, "it has expired: it was good until " + day, hint}
	case until.Sub(now) < certSoon:
		return Finding{Warning, file, "it expires soon, and should have been renewed: it is good until " + day, hint}
	}
	return Finding{OK, file, "its key fits, and it is good until " + day, ""}
}

// checkVPN looks whether OpenVPN tells what happens to its tunnels.
func checkVPN(_ context.Context, s *scene) (found []Finding) {
	wanted := s.cfg != nil && s.waitsFor(netwatch.VPNChanged)
	for _, v := range s.found.VPNs {
		found = append(found, s.judgeVPN(v, wanted))
	}
	return found
}

// waitsFor says whether a rule is on an event.
func (s *scene) waitsFor(event string) bool {
	for _, r := range s.cfg.Rules {
		if slices.Contains(r.On, event) {
			return true
		}
	}
	return false
}

// judgeVPN looks at one client. wanted says that some rule waits for OpenVPN.
func (s *scene) judgeVPN(v VPN, wanted bool) Finding {
	switch {
	case len(v.Scripts) > 0 && v.silent():
		return Finding{
			Problem, v.File, fmt.Sprintf("script-security is %s, so that OpenVPN calls none of %s", v.Security, strings.Join(v.Scripts, ", ")),
			"write script-security 2 into it, and restart OpenVPN",
		}
	case wanted && len(v.Hooked) == 0 && !s.hooked():
		return Finding{
			Warning, v.File, "nothing in it calls netwatch, and a rule waits for vpn-changed",
			fmt.Sprintf("write `ipchange \"%s hook openvpn\"` and `script-security 2` into it, and restart OpenVPN", s.Program),
		}
	}
	return Finding{OK, v.File, "it calls " + orNone(v.Scripts), ""}
}

// hooked says whether one of the scripts of YunoHost's VPN client calls netwatch.
func (s *scene) hooked() bool {
	return slices.ContainsFunc(s.Tree.glob("/etc/openvpn/scripts/*/*"), func(file string) bool {
		text, err := s.Tree.read(file)
		return err == nil && slices.ContainsFunc(strings.Split(string(text), "\n"), callsUs)
	})
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, ", ")
}

// checkOld looks for what netwatch replaces and what still works against it.
func checkOld(_ context.Context, s *scene) (found []Finding) {
	for _, o := range s.found.Old {
		hint := "netwatch init --migrate takes it out"
		switch {
		case o.Idle:
			continue
		case o.Kept != "":
			hint = o.Kept
		}
		found = append(found, Finding{Problem, o.File, "an old way is still in use: " + o.What, hint})
	}
	if len(s.found.Unread) > 0 {
		return append(found, wrong(Unknown, "old scripts", errors.Join(s.found.Unread...)))
	}
	if found == nil {
		found = []Finding{{OK, "old scripts", "there is none", ""}}
	}
	return found
}
