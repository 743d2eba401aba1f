package machine

import (
	"fmt"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
)

// engine reads a process that an engine of containers has on this machine. One of anybody
// else can be called so too, and name whichever container: it is none.
func (s *search) engine(dir string) []process {
	status, _ := s.tree.Read(dir + "/status") // Or it has ended
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == "Uid:" && !slices.ContainsFunc(f[1:], isNot("0")) {
			return s.process(dir, servers.Server{})
		}
	}
	return nil
}

func isNot(text string) func(string) bool { return func(other string) bool { return other != text } }

// doubts says why what a process in a container says of its file, or a label of what the
// container is made of, is not to be believed: root there may be none here. Other servers
// than coturn take no file that has nothing of theirs.
func (s *search) doubts(c Container, p process, text []byte) error {
	if leads, err := s.tree.Resolve(c.File); err != nil || leads != s.tree.Host(c.File) {
		err = fmt.Errorf("a link in its mount leads to %s", c.File) // The mount itself has none (proc(5))
		return netwatch.WithHint(err, "in "+c.made()+", have its command name the file itself")
	}
	if p.server.Name == "coturn" && !hasCoturns(text) {
		err := fmt.Errorf("its process says that it was started with %s, and there is nothing of coturn's in it", c.File)
		return netwatch.WithHint(err, "write realm= into it if it is coturn's")
	}
	return nil
}

// hasCoturns says whether a text has something that files of coturn have.
func hasCoturns(text []byte) bool {
	return slices.ContainsFunc([]string{
		"static-auth-secret", "realm", "external-ip", "listening-ip", "relay-ip",
	}, func(key string) bool { return servers.Setting(text, key) != "" })
}

// there is a list of files if all of them are there, and else empty: an image has whichever
// labels whoever made it likes.
func (s *search) there(files string) string {
	for name := range strings.SplitSeq(files, ",") {
		if !s.tree.Has(name) {
			return ""
		}
	}
	return files
}
