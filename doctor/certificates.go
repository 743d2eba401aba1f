package doctor

import (
	"context"
	"path"
	"slices"
	"time"

	"netwatch/machine"
	"netwatch/sources"
)

// certSoon is how long before its end a certificate should have been renewed:
// YunoHost does so 15 days before, certbot 30.
const certSoon = 7 * 24 * time.Hour

// checkCertificates looks at the certificates that are watched or served: whether
// they last, and their keys fit. coturn starts without TLS, and does not say so,
// where they do not (measured).
func checkCertificates(_ context.Context, s *scene) (found []Finding) {
	var all []machine.Certificate
	for _, source := range s.cfg.Sources {
		if c, ok := source.Settings.(*sources.Cert); ok {
			for i, file := range c.Files {
				all = append(all, machine.Certificate{File: string(file), Key: string(c.KeyOf(i))})
			}
		}
	}
	for _, c := range s.found.Served() {
		if !slices.ContainsFunc(all, func(o machine.Certificate) bool { return o.File == c.File }) {
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
