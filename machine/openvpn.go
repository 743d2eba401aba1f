package machine

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"
)

// A VPN is a configuration of an OpenVPN client.
type VPN struct {
	// File is where it stands.
	File string
	// User is the user that OpenVPN becomes after its start; empty if it stays root.
	User string
	// Hooked are the directives that call `netwatch hook openvpn`, or a script that has
	// netwatch told.
	Hooked []string
	// Scripts are the directives that call any program.
	Scripts []string
	// Security is script-security, which is 1 unless it is given (openvpn(8)). Below 2
	// OpenVPN calls no program.
	Security string
}

// Silent says whether script-security keeps OpenVPN from calling programs.
func (v VPN) Silent() bool { return v.Security == "0" || v.Security == "1" }

// scriptKeys are the directives of a client that name a program (openvpn(8)).
var scriptKeys = []string{"ipchange", "up", "down", "route-up", "route-pre-down", "tls-verify"}

// vpns finds the clients among the files of OpenVPN.
func (s *search) vpns() {
	for _, file := range append(s.tree.Glob("/etc/openvpn/*.conf"), s.tree.Glob("/etc/openvpn/client/*.conf")...) {
		text := s.read(file)
		if v, client := s.parseVPN(text); client {
			v.File = file
			s.VPNs = append(s.VPNs, v)
		}
	}
}

// parseVPN reads a file of OpenVPN: a directive on each line, comments after # or ;.
// A file with a remote, or with client, is that of a client.
func (s *search) parseVPN(text []byte) (v VPN, client bool) {
	v.Security = "1"
	for line := range strings.Lines(string(text)) {
		key, value := directive(line)
		switch {
		case key == "client" || key == "remote" || key == "tls-client":
			client = true
		case key == "user":
			v.User = value
		case key == "script-security":
			v.Security = value
		case slices.Contains(scriptKeys, key) && value != "":
			v.Scripts = append(v.Scripts, key)
			if callsUs(value) || s.scriptCallsUs(value) {
				v.Hooked = append(v.Hooked, key)
			}
		}
	}
	return v, client
}

// directive is the first word of a line, and the second without its quotes, as
// OpenVPN takes it.
func directive(line string) (key, value string) {
	words, err := shellquote.Split(strings.TrimSpace(line))
	if err != nil || len(words) == 0 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
		return "", ""
	}
	if len(words) > 1 {
		value = words[1]
	}
	return words[0], value
}

// callsUs says whether a command is netwatch's hook.
func callsUs(command string) bool {
	words := strings.Fields(command)
	i := slices.Index(words, "hook")
	ours := func(word string) bool { return path.Base(word) == "netwatch" }
	return i > 0 && slices.ContainsFunc(words[:i], ours) && i+1 < len(words) && words[i+1] == "openvpn"
}

// scriptCallsUs says whether a command is a script that calls netwatch. A program that is
// none tells nothing by its text.
func (s *search) scriptCallsUs(command string) bool {
	words := strings.Fields(command)
	if len(words) == 0 || !path.IsAbs(words[0]) {
		return false
	}
	text, _ := s.tree.Read(words[0]) // What cannot be read calls nobody that we know of.
	return bytes.HasPrefix(text, []byte("#!")) && Calling(text) != ""
}

// ScriptsCallUs says whether one of the scripts that YunoHost's VPN client runs
// calls netwatch.
func ScriptsCallUs(tree Tree) bool {
	return slices.ContainsFunc(tree.Glob("/etc/openvpn/scripts/*/*"), func(file string) bool {
		text, err := tree.Read(file)
		return err == nil && slices.ContainsFunc(strings.Split(string(text), "\n"), callsUs)
	})
}
