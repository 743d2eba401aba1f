package machine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"

	"netwatch"
	"netwatch/servers"
)

// version is that of a server, as the packages say that Debian has installed, or what Go
// has written into the program; empty where nothing tells it. The program is not run:
// others than root may have put it there.
func (s *search) version(server servers.Server, program string) string {
	if version := s.packaged(server.Start.Package); version != "" {
		return version
	}
	host, err := s.tree.Resolve(program)
	if err != nil {
		return ""
	}
	f, _, err := netwatch.OpenRegular(host, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	version := goVersion(f)
	if !versionWord().MatchString(version) {
		return ""
	}
	return strings.TrimPrefix(version, "v")
}

// versionWord fits what is printed: a program can say whatever it likes.
var versionWord = netwatch.Pattern(`^v?[0-9][A-Za-z0-9.:~+-]{0,40}$`)

// packaged is the version of a package of Debian's.
func (s *search) packaged(name string) (version string) {
	host, err := s.tree.Resolve("/var/lib/dpkg/status")
	if err != nil || name == "" {
		return ""
	}
	f, err := os.Open(host)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	ours, there := false, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case key == "Package":
			ours = value == name
		case key == "Status":
			there = strings.HasSuffix(value, " installed")
		case key == "Version" && ours && there && versionWord().MatchString(value):
			version = value
		}
	}
	return version
}

// buildInfo is what the linker of Go writes before the facts about a build, at a place
// that 16 divides: 32 bytes, then texts, each with its length before it.
var buildInfo = []byte("\xff Go buildinf:")

// maxInfo is more than these facts ever have, in bytes.
const maxInfo = 1 << 20

// maxProgram is more than a program has, in bytes; a file with holes has any number.
const maxProgram = 256 << 20

// goVersion is the version of a program's main module; empty where Go did not make it.
func goVersion(program io.Reader) string {
	r := bufio.NewReaderSize(io.LimitReader(program, maxProgram), 1<<16)
	head := make([]byte, 16)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return ""
		}
		if bytes.HasPrefix(head, buildInfo) {
			break
		}
	}
	if _, err := r.Discard(16); err != nil {
		return ""
	}
	var info []byte
	for range 2 { // The version of Go, then the modules
		n, err := binary.ReadUvarint(r)
		if err != nil || n > maxInfo {
			return ""
		}
		info = make([]byte, n)
		if _, err := io.ReadFull(r, info); err != nil {
			return ""
		}
	}
	_, modules, _ := bytes.Cut(info, []byte("\nmod\t"))
	fields := strings.Split(string(modules[:max(0, bytes.IndexByte(modules, '\n'))]), "\t")
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}
