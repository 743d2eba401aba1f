package machine

import (
	"cmp"
	"encoding/json"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"netwatch"
	"netwatch/systemd"
)

// A Container is a server in a container of Docker, Podman or another engine.
type Container struct {
	// Server is what it is called: coturn, or one of the others.
	Server string
	// Engine is docker or podman; empty is another.
	Engine string
	// ID is the engine's number for it, and Name what it is called there, if that is
	// known.
	ID, Name string
	// Unit is the service of systemd that runs it, or empty.
	Unit string
	// Source is the file that says what the container is made of, as a quadlet or that
	// of compose, if that is known.
	Source string
	// Inside is the server's file as the container has it, and File the one of this machine
	// that is mounted there; empty if none is.
	Inside, File string
	// Replaced says that File was replaced since: the container still has the old one.
	Replaced bool
	// Sealed is a certificate that it serves, by its name there, if it is in the image.
	Sealed string
	// HostNetwork says that it has this machine's network, and none of its own.
	HostNetwork bool
	// Published are the ports of a container with a network of its own that this machine
	// hands on to it under their own numbers, as 3478/udp, as far as files tell them.
	Published []string
	// Users says that it is a user's own, and not of the system.
	Users bool
	// Keeper is the unit by which it is started anew where its file is kept right; empty
	// where none can be. Refused is why not, if it is not only what is said above.
	Keeper  string
	Refused error
}

// containerCgroup is what engines call a container's cgroup. Its first group is theirs,
// its second the number.
var containerCgroup = netwatch.Pattern(`^(?:(.*)-)?([0-9a-f]{64})(?:\.scope)?$`)

// container says in which container a process is.
func (p process) container() (engine, id string, ok bool) {
	parts := strings.Split(p.cgroup, "/")
	for i, part := range parts {
		m := containerCgroup().FindStringSubmatch(part)
		if m == nil {
			continue
		}
		switch {
		case strings.HasPrefix(m[1], "libpod"):
			return "podman", m[2], true
		case m[1] == "docker", m[1] == "" && i > 0 && parts[i-1] == "docker":
			return "docker", m[2], true
		}
		return "", m[2], true
	}
	return "", "", false
}

// contained notes a server in a container. Of one with several processes, the first
// counts.
func (s *search) contained(p process, engine, id string) {
	if slices.ContainsFunc(s.Contained, func(c Container) bool { return c.ID == id }) {
		return
	}
	c := Container{
		Server: p.server.Name, Engine: engine, ID: id, Unit: s.runsContainer(p),
		Users: strings.HasPrefix(p.cgroup, "/user.slice/"),
	}
	if i := slices.IndexFunc(s.all, func(u unit) bool { return u.Name == c.Unit }); i >= 0 {
		c.Source = s.all[i].Source
	}
	dir := "/proc/" + strconv.Itoa(int(p.pid))
	c.HostNetwork = s.sameFile(dir+"/ns/net", "/proc/1/ns/net")
	inside, err := s.inside(p, func(name string) bool {
		if c.Users { // Who could have what is mounted there never answer
			return false
		}
		_, err := os.Stat(s.tree.Host(dir + "/root" + name))
		return err == nil
	})
	if c.Refused = err; err == nil {
		c.Inside = inside
	}
	if err == nil && !c.Users { // See above
		m := s.mountedFrom(dir, inside)
		c.File, c.Replaced = m.file, m.file != "" && !m.same
	}
	switch engine {
	case "docker":
		labels := s.docker(&c)
		c.Unit = cmp.Or(c.Unit, s.attached(c.Name), s.composed(c, labels))
	case "podman":
		s.podman(&c)
		c.Published = s.forwarded(c.ID)
		c.Unit = cmp.Or(c.Unit, s.attached(c.Name))
	}
	s.keepContained(&c, p)
	s.Contained = append(s.Contained, c)
}

// inside is the file that a process in a container was started with, by its name there.
func (s *search) inside(p process, has func(name string) bool) (string, error) {
	if p.server.Name == "coturn" {
		return turnFile(p.words, has)
	}
	return p.server.Start.File(p.words, s.environment(p), has)
}

// environment is what a process was started with.
func (s *search) environment(p process) systemd.Variables {
	vars := systemd.Variables{}
	text := s.read("/proc/" + strconv.Itoa(int(p.pid)) + "/environ")
	vars.Set(strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")...)
	return vars
}

// sameFile says whether two names are one file, as the kernel follows them.
func (s *search) sameFile(a, b string) bool {
	one, err := os.Stat(s.tree.Host(a))
	if err != nil {
		return false
	}
	other, err := os.Stat(s.tree.Host(b))
	return err == nil && os.SameFile(one, other)
}

// runsContainer is the service that runs the container of a process: the one whose
// cgroup it is in, or else that of the process by which podman watches over it.
func (s *search) runsContainer(p process) string {
	if unit := p.unit(); unit != "" {
		return unit
	}
	_, id, _ := p.container()
	for _, monitor := range s.monitors {
		if id != "" && slices.Contains(monitor.words, id) {
			return monitor.unit()
		}
	}
	return ""
}

// attached is the service that runs a container by waiting for it, as for `docker start --attach
// NAME`, `docker run --name=NAME`, and `podman start -a NAME`, by which podman-compose does: when
// the container ends, it makes it anew itself. The container is not in its cgroup.
func (s *search) attached(name string) string {
	for _, client := range s.clients {
		names := func(word string) bool { return word == name || word == "--name="+name }
		runs := slices.Contains(client.words, "start") || slices.Contains(client.words, "run") // Not logs, or our restart
		if unit := client.unit(); name != "" && unit != "" && runs && slices.ContainsFunc(client.words, names) {
			return unit
		}
	}
	return ""
}

// A mount is a line of mountinfo (proc(5)).
type mount struct{ device, root, point string }

func (s *search) mounts(dir string) (all []mount) {
	for line := range strings.Lines(string(s.read(dir + "/mountinfo"))) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, mount{f[2], unescape(f[3]), unescape(f[4])})
		}
	}
	return all
}

// unescape puts blanks and backslashes back, which mountinfo has in octal.
func unescape(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}

// A mounted is a file of this machine that a process in a container has.
type mounted struct {
	file string
	// same says that it is the same file now, and alone that not its directory is mounted.
	same, alone bool
}

// mountedFrom is the file of this machine that a process has under a name; empty where
// that is in the image of its container. Of several names here that one counts by which
// it is the same file now, or else the first.
func (s *search) mountedFrom(dir, name string) (found mounted) {
	var in mount // The longest above the name, and of several the last
	for _, m := range s.mounts(dir) {
		if _, ok := below(m.point, name); ok && len(m.point) >= len(in.point) {
			in = m
		}
	}
	if in.point == "" || in.point == "/" {
		return mounted{}
	}
	rest, _ := below(in.point, name)
	found.alone = rest == ""
	lies := path.Join(strings.TrimSuffix(in.root, "//deleted"), rest)
	for _, m := range s.mounts("/proc/1") {
		rest, ok := below(m.root, lies)
		here := path.Join(m.point, rest)
		if m.device != in.device || !ok || !s.tree.Has(here) {
			continue
		}
		if s.sameFile(dir+"/root"+name, here) {
			return mounted{here, true, found.alone}
		}
		if found.file == "" {
			found.file = here
		}
	}
	return found
}

// below is the rest of a name that is a directory or below it.
func below(dir, name string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, strings.TrimSuffix(dir, "/"))
	return rest, ok && (rest == "" || rest[0] == '/')
}

// dockers is where Docker keeps what it knows about containers.
const dockers = "/var/lib/docker/containers/"

// A dockered is what Docker keeps about one.
type dockered struct {
	ID, Name string
	State    struct{ Running bool }
	Config   struct{ Labels map[string]string }
}

func (s *search) dockerKeeps(file string) (kept dockered, err error) {
	text, err := s.tree.Read(file)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	return kept, err
}

// docker adds what Docker keeps about a container in files, and returns its labels.
func (s *search) docker(c *Container) (labels map[string]string) {
	dir := dockers + c.ID
	if kept, err := s.dockerKeeps(dir + "/config.v2.json"); err == nil {
		c.Name, labels = strings.TrimPrefix(kept.Name, "/"), kept.Config.Labels
		c.Source = cmp.Or(c.Source, s.there(labels[project+".config_files"]))
	}
	var host struct {
		PortBindings map[string][]struct{ HostIP, HostPort string }
	}
	text, err := s.tree.Read(dir + "/hostconfig.json")
	if err != nil || json.Unmarshal(text, &host) != nil {
		return labels
	}
	for port, all := range host.PortBindings {
		for _, b := range all {
			if number, _, _ := strings.Cut(port, "/"); everywhere(b.HostIP) && b.HostPort == number {
				c.Published = append(c.Published, port)
			}
		}
	}
	slices.Sort(c.Published)
	return labels
}

// podman adds what Podman keeps about all containers in files: those that go with their end in
// one of their own.
func (s *search) podman(c *Container) {
	var kept []struct {
		ID    string
		Names []string
	}
	for _, file := range s.tree.Glob("/var/lib/containers/storage/*-containers/*containers.json") {
		text, err := s.tree.Read(file)
		if err != nil || json.Unmarshal(text, &kept) != nil {
			continue
		}
		for _, k := range kept {
			if k.ID == c.ID && len(k.Names) > 0 {
				c.Name = k.Names[0]
			}
		}
	}
}
