package machine

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// composed is the service that runs a container of Compose by waiting for it, as for `docker
// compose up`: it would take its end for a stop. labels are what Compose has written of the
// container. Of several for its project that one counts which names it.
func (s *search) composed(labels map[string]string) (unit string) {
	for _, client := range s.clients {
		if client.unit() == "" || !s.runsProject(client, labels) {
			continue
		}
		if slices.Contains(client.words, labels["com.docker.compose.service"]) {
			return client.unit()
		}
		if unit == "" {
			unit = client.unit()
		}
	}
	return unit
}

// runsProject says whether a client runs the project of Compose that labels are of: by its name,
// by one of its files, or by the directory that it is started in.
func (s *search) runsProject(client process, labels map[string]string) bool {
	const project = "com.docker.compose.project"
	if labels[project] == "" || !slices.Contains(client.words, "up") {
		return false
	}
	if names := options(client.words, "-p", "--project-name"); len(names) > 0 {
		return slices.Contains(names, labels[project])
	}
	cwd, _ := os.Readlink(s.tree.Host("/proc/" + strconv.Itoa(int(client.pid)) + "/cwd")) // Or it has ended
	if files := options(client.words, "-f", "--file"); len(files) > 0 {
		all := strings.Split(labels[project+".config_files"], ",")
		return slices.ContainsFunc(files, func(name string) bool { return slices.Contains(all, absolute(cwd, name)) })
	}
	dirs := append(options(client.words, "--project-directory", "--project-directory"), cwd)
	return absolute(cwd, dirs[0]) == labels[project+".working_dir"]
}

// absolute is a name as seen from a directory.
func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}
