package machine

import "netwatch/systemd"

// Running looks at a machine whose systemd says that it has these services.
func Running(tree Tree, program string, services []systemd.Service) Machine {
	s := &search{tree: tree, program: program, asked: true}
	s.processes()
	return s.find(services)
}
