package doctor

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"netwatch"
	"netwatch/machine"
	"netwatch/sources"
)

// A renewer is a program that renews certificates, and calls hooks then.
type renewer struct {
	name string
	// below is where its certificates are.
	below string
	// hooks are patterns of the files that it runs, and settings those of the files that
	// can name a command to be run.
	hooks, settings []string
	// programs says that a hook has to be executable.
	programs bool
}

// renewers are those whose certificates are for few to read, so that a hook has to tell.
var renewers = []renewer{
	{
		name: "yunohost", below: "/etc/yunohost/certs/", hooks: []string{"/etc/yunohost/hooks.d/post_cert_update/*"},
	},
	{
		name: "certbot", below: "/etc/letsencrypt/", programs: true,
		hooks:    []string{"/etc/letsencrypt/renewal-hooks/deploy/*", "/etc/letsencrypt/renewal-hooks/post/*"},
		settings: []string{"/etc/letsencrypt/renewal/*.conf", "/etc/letsencrypt/cli.ini"},
	},
}

// checkHooks looks whether netwatch is told that a certificate is renewed that a server or
// a Synapse serves, where it does not see that itself.
func checkHooks(_ context.Context, s *scene) (found []Finding) {
	watched, wanted := s.watched(), s.waitsFor(netwatch.CertRenewed)
	for _, c := range s.certificates(coturn.serves) {
		i := slices.IndexFunc(renewers, func(r renewer) bool { return strings.HasPrefix(c.File, r.below) })
		switch {
		case !wanted:
			found = append(found, Finding{
				Note, c.File, "no rule waits for cert-renewed: what serves it is not told when it is renewed",
				fmt.Sprintf("netwatch init shows a rule for that, to be added to %s", netwatch.ShellPath(s.Config)),
			})
		case i >= 0 && !slices.Contains(watched, c.File):
			found = append(found, s.judgeHook(c.File, renewers[i]))
		}
	}
	return found
}

// serves says whether a coturn listens for TLS.
func (t coturn) serves() bool { return t.TLS != 0 }

// certificates are those of the coturns in use of which is says yes, of other servers
// and of Synapses, each once.
func (s *scene) certificates(is func(coturn) bool) []machine.Certificate {
	var m machine.Machine
	for _, t := range s.turns() {
		if is(t) {
			m.Turns = append(m.Turns, t.Turn)
		}
	}
	m.Servers, m.Synapses = s.found.Servers, s.found.Synapses
	return m.Served()
}

// watched are the certificates that a source watches.
func (s *scene) watched() (all []string) {
	for _, source := range s.cfg.Sources {
		if certified, ok := source.Settings.(sources.Certified); ok {
			for _, c := range certified.Certificates() {
				all = append(all, string(c.File))
			}
		}
	}
	return all
}

// judgeHook looks for the hook that tells of a certificate.
func (s *scene) judgeHook(file string, r renewer) Finding {
	hooks, settings := s.tell(r.hooks), s.tell(r.settings)
	run := slices.DeleteFunc(slices.Clone(hooks), func(hook string) bool { return r.programs && !s.runs(hook) })
	switch tell := slices.Concat(run, settings); {
	case len(tell) > 0:
		return Finding{OK, file, tell[0] + " tells of its renewal", ""}
	case len(hooks) > 0:
		return Finding{
			Warning, file, fmt.Sprintf("%s, which tells of its renewal, is no program: %s passes it over", hooks[0], r.name),
			"chmod 755 " + netwatch.ShellPath(hooks[0]),
		}
	}
	return Finding{
		Warning, file, fmt.Sprintf("no hook of %s tells netwatch when it is renewed, for which a rule waits", r.name),
		"netwatch init puts the hook in place",
	}
}

// tell are the files of these patterns that have netwatch told of a renewal.
func (s *scene) tell(patterns []string) (all []string) {
	for _, pattern := range patterns {
		for _, file := range s.Tree.Glob(pattern) {
			if s.tellsUs(file) {
				all = append(all, file)
			}
		}
	}
	return all
}

// tellsUs says whether a script, or a setting, has netwatch told of a renewal. Copies that
// an editor leaves are run by nobody.
func (s *scene) tellsUs(file string) bool {
	text, err := s.Tree.Read(file)
	if err != nil || strings.HasSuffix(file, "~") || strings.HasPrefix(path.Base(file), ".") {
		return false
	}
	words := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "#") {
				break
			}
			words[path.Base(strings.Trim(word, `"'`))] = true
		}
	}
	return words["netwatch"] && words["fire"] && words[netwatch.CertRenewed]
}

// runs says whether a file is a program.
func (s *scene) runs(file string) bool {
	name, err := s.Tree.Resolve(file)
	if err != nil {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&0o111 != 0
}
