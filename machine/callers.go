package machine

import (
	"path"
	"slices"
	"strings"
)

// A Caller is a line by which others call netwatch.
type Caller struct {
	// File is where it stands.
	File string
	// Line is the line.
	Line string
	// Needs says that who calls does not start without the program: OpenVPN, whose
	// configuration names it (measured).
	Needs bool
}

// hookFiles are what runs when a certificate was renewed, or a tunnel came or went.
var hookFiles = []string{
	"/etc/letsencrypt/renewal-hooks/*/*", "/etc/yunohost/hooks.d/*/*", "/etc/openvpn/scripts/*/*",
}

// Callers finds who calls the netwatch that is at program. read gives the text of a file;
// none where it cannot be read.
func Callers(tree Tree, program string, read func(file string) []byte) (all []Caller) {
	place, _ := tree.Resolve(program) // It runs, or somebody says where it would.
	ours := func(word string) bool {
		host, err := tree.Resolve(word)
		return err == nil && path.IsAbs(word) && host == place
	}
	for _, file := range vpnTexts(tree, read) {
		for line := range strings.Lines(string(read(file))) {
			_, value := directive(line)
			if callsUs(value) && slices.ContainsFunc(strings.Fields(value), ours) {
				all = append(all, Caller{file, strings.TrimSpace(line), true})
			}
		}
	}
	for _, pattern := range hookFiles {
		for _, file := range tree.Glob(pattern) {
			if line := Calling(read(file)); line != "" {
				all = append(all, Caller{file, line, false})
			}
		}
	}
	return all
}

// vpnTexts are the configurations of OpenVPN, and those that they take in by `config`,
// whose names are as seen from the directory in which Debian's units start it.
func vpnTexts(tree Tree, read func(file string) []byte) (all []string) {
	seen := map[string]bool{} // By where they lie: a link can give one file names without end
	add := func(name string) {
		if host, err := tree.Resolve(name); err == nil && !seen[host] && tree.Has(name) {
			seen[host], all = true, append(all, name)
		}
	}
	for _, pattern := range vpnFiles {
		for _, name := range tree.Glob(pattern) {
			add(name)
		}
	}
	for i := 0; i < len(all); i++ { // It grows meanwhile
		for line := range strings.Lines(string(read(all[i]))) {
			key, value := directive(line)
			if !path.IsAbs(value) {
				value = path.Join(path.Dir(all[i]), value)
			}
			if key == "config" {
				add(value)
			}
		}
	}
	return all
}

// Calling is the first line of a script that has netwatch fire an event, or is its hook;
// empty if there is none.
func Calling(text []byte) string {
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		i := slices.IndexFunc(words, func(word string) bool { return path.Base(word) == "netwatch" })
		if i < 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if slices.Contains(words[i:], "fire") || slices.Contains(words[i:], "hook") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
