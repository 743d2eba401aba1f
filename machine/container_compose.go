package machine

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// project is the label by which Compose says what a container is part of.
const project = "com.docker.compose.project"

// composed is the service that runs a container of Compose by waiting for it, as for `docker
// compose up`, and takes its end for a stop. That is so where no other container of the project
// runs, or the end of one ends all (measured, 2.26); elsewhere the others are to go on when this
// one is started anew, which that service would not let them.
func (s *search) composed(c Container, labels map[string]string) string {
	for _, client := range s.clients {
		if client.unit() == "" || !s.runsProject(client, labels) {
			continue
		}
		if slices.Contains(client.words, "--abort-on-container-exit") || !s.hasOthers(c, labels[project]) {
			return client.unit()
		}
	}
	return ""
}

// hasOthers says whether another container of a project of Compose runs.
func (s *search) hasOthers(c Container, name string) bool {
	return slices.ContainsFunc(s.tree.Glob(dockers+"*/config.v2.json"), func(file string) bool {
		kept, err := s.dockerKeeps(file)
		return err == nil && kept.State.Running && kept.ID != c.ID && kept.Config.Labels[project] == name
	})
}

// runsProject says whether a client runs the project of Compose that labels are of: by its name,
// by one of its files, or by the directory that it is started in.
func (s *search) runsProject(client process, labels map[string]string) bool {
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
