package systemd

import (
	"strings"
)

// An Assignment is one KEY=value of a unit file, with the section that it stands in, as
// [Service].
type Assignment struct{ Section, Key, Value string }

// Assignments are those of a unit file in their order: a line that ends in a backslash
// goes on in the next one, and comments count nowhere (systemd.syntax(7)).
func Assignments(text []byte) (all []Assignment) {
	section, whole := "", []byte{}
	for line := range strings.Lines(string(text) + "\n") {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), " \t\r")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if goesOn(line) {
			whole = append(append(whole, line[:len(line)-1]...), ' ')
			continue
		}
		line, whole = strings.TrimSpace(string(whole)+line), whole[:0]
		key, value, assigns := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "["):
			section = line
		case assigns:
			all = append(all, Assignment{section, strings.TrimSpace(key), strings.TrimSpace(value)})
		}
	}
	return all
}

// goesOn says whether a line ends in a backslash that none stands before.
func goesOn(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// CommandLine is the one ExecStart= of a service that these texts make, that of its own
// file and then those of its drop-ins; an empty one takes away all before it
// (systemd.service(5)). It is empty itself if there is none, or several.
func CommandLine(texts ...[]byte) string {
	var commands []string
	for _, text := range texts {
		for _, a := range Assignments(text) {
			switch {
			case a.Section != "[Service]" || a.Key != "ExecStart":
			case a.Value == "":
				commands = nil
			default:
				commands = append(commands, a.Value)
			}
		}
	}
	if len(commands) != 1 {
		return ""
	}
	return commands[0]
}
