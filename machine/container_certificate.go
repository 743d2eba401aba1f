package machine

import (
	"cmp"
	"os"
	"path"
	"strconv"
	"strings"

	"netwatch/servers"
)

// containedCertificate is the certificate of a server in a container that this machine has, by
// its names here, and whether it is mounted alone: where a new file is put into its place, the
// container has the old one until it is started anew. One that is in the image it notes in c.
func (s *search) containedCertificate(c *Container, p process, text []byte) (cert Certificate, alone bool) {
	file, key := insideCertificate(p, text)
	if !path.IsAbs(file) {
		return Certificate{}, false
	}
	dir := "/proc/" + strconv.Itoa(int(p.pid))
	m := s.mountedFrom(dir, file)
	if m.file == "" {
		if _, err := os.Lstat(s.tree.Host(dir + "/root" + file)); err == nil {
			c.Sealed = file
		}
		return Certificate{}, false
	}
	if path.IsAbs(key) {
		key = s.mountedFrom(dir, key).file
	}
	return s.named(m.file, key), m.alone
}

// insideCertificate is the certificate that a server in a container serves, and its key, by their
// names there. What the file of coturn says goes before its command line (measured).
func insideCertificate(p process, text []byte) (file, key string) {
	switch {
	case p.server.Certificate != nil:
		return p.server.Certificate(text)
	case p.server.Name != "coturn":
		return "", ""
	}
	of := func(name string) string {
		return cmp.Or(servers.Setting(text, name), strings.Join(last(options(p.words, "--"+name, "--"+name)), ""))
	}
	return of("cert"), of("pkey")
}

// last are the last of the values, or none.
func last(all []string) []string { return all[max(0, len(all)-1):] }

// renews is the verb by which the unit of a container has coturn read a renewed certificate: a
// unit of its own may have a reload for that, which is of no use where the old file is mounted.
func (c Container) renews(alone bool) string {
	if c.Unit != "" && !alone {
		return "reload-or-restart"
	}
	return "restart"
}
