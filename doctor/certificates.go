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

// checkCertificates looks whether the certificates that are watched, or named by who runs, are
// still good for a while, and fit their keys. If they do not, coturn starts without
// TLS and does not say so (measured).
func checkCertificates(_ context.Context, s *scene) (found []Finding) {
	var all []machine.Certificate
	for _, source := range s.cfg.Sources {
		if s, ok := source.Settings.(sources.Certified); ok {
			for _, c := range s.Certificates() {
				all = append(all, machine.Certificate{File: string(c.File), Key: string(c.Key)})
			}
		}
	}
	for _, c := range s.certificates(func(coturn) bool { return true }) {
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
