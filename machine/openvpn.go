package machine

import (
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"
)

// A VPN is a configuration of an OpenVPN client.
type VPN struct {
	// File is where it stands.
	File string
	// User is whom OpenVPN becomes after its start; empty is root still.
	User string
	// Hooked are its directives that call `netwatch hook openvpn`.
	Hooked []string
	// Scripts are its directives that call any program.
	Scripts []string
	// Security is its script-security; 1 unless given (openvpn(8)). Below 2 no
	// program is called.
	Security string
}

// Silent says that its script-security keeps it from calling programs.
func (v VPN) Silent() bool { return v.Security == "0" || v.Security == "1" }

// scriptKeys are the directives of a client that name a program (openvpn(8)).
var scriptKeys = []string{"ipchange", "up", "down", "route-up", "route-pre-down", "tls-verify"}

// vpns are the clients among OpenVPN's files.
func (s *search) vpns() {
	for _, file := range append(s.tree.Glob("/etc/openvpn/*.conf"), s.tree.Glob("/etc/openvpn/client/*.conf")...) {
		text := s.read(file)
		if v, client := parseVPN(text); client {
			v.File = file
			s.VPNs = append(s.VPNs, v)
		}
	}
}

// parseVPN reads a file of OpenVPN: a directive a line, comments after # or ;.
// One with a remote or as client connects to somebody.
func parseVPN(text []byte) (v VPN, client bool) {
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
			if callsUs(value) {
				v.Hooked = append(v.Hooked, key)
			}
		}
	}
	return v, client
}

// directive is the first word of a line, and the second as OpenVPN takes it:
// out of its quotes.
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

// ScriptsCallUs says whether one of the scripts that YunoHost's VPN client runs
// calls netwatch.
func ScriptsCallUs(tree Tree) bool {
	return slices.ContainsFunc(tree.Glob("/etc/openvpn/scripts/*/*"), func(file string) bool {
		text, err := tree.Read(file)
		return err == nil && slices.ContainsFunc(strings.Split(string(text), "\n"), callsUs)
	})
}
