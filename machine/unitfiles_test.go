package machine_test

import (
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
)

// Where systemd is not asked the files of units count, with their drop-ins, and the
// instances of templates that start at boot.
func TestUnitFiles(t *testing.T) {
	const unit = "[Unit]\nExecStart=/none\n[Service]\nExecStart=/usr/bin/turnserver -c /etc/one.conf\n"
	const two = "[Service]\nExecStart=\nExecStart=-/usr/bin/turnserver -c \"/etc/two.conf\" \\\n  --pidfile=\n"
	for name, c := range map[string]struct {
		files machinetest.Files
		want  string
	}{
		"alone": {machinetest.Files{"/lib/systemd/system/t.service": unit}, "t.service /etc/one.conf"},
		"drop-in": {machinetest.Files{
			"/lib/systemd/system/t.service": unit, "/etc/systemd/system/t.service.d/a.conf": two,
		}, "t.service /etc/two.conf"},
		"drop-in that another hides": {machinetest.Files{
			"/lib/systemd/system/t.service": unit, "/lib/systemd/system/t.service.d/a.conf": two,
			"/etc/systemd/system/t.service.d/a.conf": "# nothing\n",
		}, "t.service /etc/one.conf"},
		"drop-ins in their order": {machinetest.Files{
			"/lib/systemd/system/t-u.service": unit, "/lib/systemd/system/t-.service.d/z.conf": two,
			"/etc/systemd/system/t-u.service.d/a.conf": "[Service]\nExecStart=\n",
		}, "t-u.service /etc/two.conf"},
		"drop-in of its own over that of many": {machinetest.Files{
			"/lib/systemd/system/t-u.service": unit, "/etc/systemd/system/t-u.service.d/a.conf": two,
			"/etc/systemd/system/t-.service.d/a.conf": "# nothing\n", "/etc/systemd/system/service.d/a.conf": "# nothing\n",
		}, "t-u.service /etc/two.conf"},
		"drop-in of the administrator's over that of a package": {machinetest.Files{
			"/lib/systemd/system/t-u.service": unit, "/lib/systemd/system/t-u.service.d/a.conf": two,
			"/etc/systemd/system/t-.service.d/a.conf": "# nothing\n",
		}, "t-u.service /etc/one.conf"},
		"variable": {machinetest.Files{
			"/etc/environment.t": "N=two\n",
			"/etc/systemd/system/t.service": "[Service]\nEnvironment=\"N=one\"\nEnvironmentFile=-/etc/environment.t\n" +
				"ExecStart=turnserver -c /etc/${N}.conf\n",
		}, "t.service /etc/two.conf"},
		"called otherwise": {machinetest.Files{
			"/etc/systemd/system/t.service": "[Service]\nExecStart=@/usr/bin/turnserver turn -c /etc/two.conf\n",
		}, "t.service /etc/two.conf"},
		"instance": {machinetest.Files{
			"/lib/systemd/system/t@.service":                            "[Service]\nExecStart=turnserver -c /etc/%i.conf\n",
			"/etc/systemd/system/multi-user.target.wants/t@two.service": "-> /lib/systemd/system/t@.service",
		}, "t@two.service /etc/two.conf"},
		"masked": {machinetest.Files{
			"/lib/systemd/system/t.service": unit, "/etc/systemd/system/t.service": "-> /dev/null",
		}, ""},
	} {
		files := machinetest.Files{"/etc/one.conf": ownConf, "/etc/two.conf": ownConf}.And(c.files)
		m := machine.Find(files.Build(t), program)
		if got := turnsOf(m); got != c.want || len(m.Unread) > 0 {
			t.Errorf("%s: found %q, and says %v", name, got, m.Unread)
		}
	}
}

// What only systemd can read of a unit's file is said.
func TestUnitFilesNotSeen(t *testing.T) {
	for _, line := range []string{
		`/usr/bin/turnserver -c /etc/a\x20b.conf`, `/usr/bin/turnserver -c %E/turnserver.conf`,
		`/usr/bin/turnserver -c "/etc`,
	} {
		m := machine.Find(machinetest.Files{
			"/etc/turnserver.conf": ownConf, "/etc/systemd/system/t.service": "[Service]\nExecStart=" + line + "\n",
		}.Build(t), program)
		if len(m.Turns) > 0 || len(m.Unread) != 1 {
			t.Errorf("%s: found %q, and says %v", line, turnsOf(m), m.Unread)
		}
	}
}
