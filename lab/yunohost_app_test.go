//go:build lab

// The app for YunoHost does on the lab's YunoHost what it is to do on a real one, where
// packaging/yunohost-try tries it.

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ynhHelpers stand in for those that YunoHost has, which cannot be carried: they do the
// least that the scripts of the app ask of them, and stop a script at the first error.
const ynhHelpers = `set -eu -o pipefail
shopt -s inherit_errexit
export YNH_CWD=/var/cache/netwatch-backup
ynh_script_progression() { echo "$1"; }
ynh_print_info() { echo "$1"; }
ynh_print_warn() { echo "$1"; }
ynh_die() { echo "$1"; exit 1; }
ynh_return() { echo "$1"; }
ynh_systemctl() { systemctl "${2#--action=}" "${1#--service=}"; }
ynh_backup() { mkdir -p $YNH_CWD; (cd / && cp --archive --parents "${1#/}" $YNH_CWD); }
ynh_app_config_run() {
	case $1 in
		show) for getter in $(compgen -A function get__); do echo "${getter#get__}: $($getter)"; done ;;
		apply) ynh_app_config_validate; ynh_app_config_apply ;;
		*) "run__$1" ;;
	esac
}
`

// ynhCommand stands in for the command, of which the scripts use "service" alone.
const ynhCommand = `#!/bin/sh
list=/var/cache/yunohost-services
case $2 in
	add) grep -qsx "$3" $list || echo "$3" >>$list ;;
	status) grep -qsx "$3" $list ;;
	remove) sed -i "/^$3\$/d" $list ;;
esac
`

// ynhApp is where the app of a version is in the server.
func ynhApp(version string) string { return "/var/cache/netwatch_ynh-" + version }

// handOverApp makes the app of a version and puts it into the server.
func handOverApp(t *testing.T, version string) {
	t.Helper()
	dist := t.TempDir()
	arch := outside(t, "dpkg", "--print-architecture")
	deb := filepath.Join(dist, "netwatch_"+version+"-1_"+arch+".deb")
	must(t, os.WriteFile(deb, []byte(netwatchPackage(t, version)), 0o600))
	build := exec.CommandContext(t.Context(), "packaging/yunohost/build", deb)
	build.Dir, build.Env = "..", append(os.Environ(), "DIST="+dist)
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("making the app: %v\n%s", err, out)
	}
	outside(t, "cp", "-R", dist+"/netwatch_ynh", server.path(ynhApp(version)))
}

// ynh runs a script of the app as YunoHost does, and returns what it says.
func ynh(t *testing.T, version, script string, env ...string) (string, error) {
	t.Helper()
	dir := ynhApp(version)
	return server.Exec(t.Context(), append([]string{
		"env", "--chdir=" + dir + "/scripts", "YNH_APP_BASEDIR=" + dir,
	}, append(env, "sh", "-c", "bash ./"+script+" 2>&1")...)...)
}

// does is the same for one that must end well.
func does(t *testing.T, version, script string, env ...string) string {
	t.Helper()
	out, err := ynh(t, version, script, env...)
	t.Logf("%s of %s:\n%s", script, version, out)
	must(t, err)
	return out
}

// onYunoHostWithApp is a YunoHost with the old scripts, and two versions of the app at hand.
func onYunoHostWithApp(t *testing.T) {
	t.Helper()
	onYunoHost(t)
	namedServers(t)
	shell(t, "rm -f /usr/sbin/policy-rc.d; systemctl start polkit.service; mkdir -p /usr/share/yunohost")
	must(t, server.WriteFile("/etc/yunohost/current_host", "example.org\n", 0o644))
	must(t, server.WriteFile("/usr/share/yunohost/helpers", ynhHelpers, 0o644))
	must(t, server.WriteFile("/usr/bin/yunohost", ynhCommand, 0o755))
	must(t, server.WriteFile("/etc/cron.d/coturn_config_rotate",
		"*/15 * * * * root bash /var/www/synapse/Coturn_config_rotate.sh;\n", 0o644))
	handOverApp(t, "1.0")
	handOverApp(t, "2.0")
}

// The app is installed, upgraded, set by its panel, backed up, removed, restored on a machine
// that knows nothing of it, and removed; and the machine stands as it stood.
func TestYunoHostApp(t *testing.T) {
	onYunoHostWithApp(t)
	before := standing(t)
	said := does(t, "1.0", "install")
	for _, part := range []string{"nothing was done (--dry-run)", "remove /etc/cron.d/coturn_config_rotate", "doctor"} {
		if !strings.Contains(said, part) {
			t.Errorf("the log of the installation has no %q", part)
		}
	}
	idle(t, FirstPublic)
	does(t, "2.0", "upgrade")
	idle(t, FirstPublic)
	does(t, "2.0", "findings")
	panel(t)
	shell(t, "install -d "+ynhApp("2.0")+"/settings; ln -s ../scripts "+ynhApp("2.0")+"/settings/scripts")
	does(t, "2.0", "backup")
	does(t, "2.0", "remove")
	if diff := cmp.Diff(before, standing(t)); diff != "" {
		t.Error("the machine is another:", diff)
	}
	does(t, "2.0", "restore")
	idle(t, FirstPublic)
	wantSet(t)
	does(t, "2.0", "remove")
	if diff := cmp.Diff(before, standing(t)); diff != "" {
		t.Error("the machine is another:", diff)
	}
}

// panel sets values as the panel does, and holds that a wrong one is refused in the words of
// netwatch and changes nothing.
func panel(t *testing.T) {
	t.Helper()
	does(t, "2.0", "config apply", "stun_every=40s", "mail_changes=root@localhost", "mail_weekly=")
	panelPassword(t)
	does(t, "2.0", "config apply", "mqtt_broker=mqtts://broker.example.org", "mqtt_host=turn1", "mqtt_user=",
		"mqtt_ca=", `mqtt_password=se"cret`)
	wantSet(t)
	for env, said := range map[string]string{
		"stun_every=soon":                                  `"stun_every": ".*is not a duration`,
		"mail_changes=root":                                `"mail_changes": ".*is not one address`,
		"mail_changes=a@example.org mail_weekly=x":         `"mail_weekly": ".*is not one address`,
		"mqtt_broker=nowhere mqtt_password=another":        `"mqtt_broker": ".*source.mqtt.broker`,
		"mqtt_broker=mqtts://b mqtt_user=turn1 mqtt_host=": `"mqtt_host": ".*as in \\"turn1\\"`,
	} {
		wantRefused(t, said, strings.Fields(env)...)
	}
	shell(t, "cd /etc/netwatch; cp -a netwatch.toml keep; printf '\n[source.timer]\nat = [\"noon\"]\n' >>netwatch.toml")
	wantRefused(t, `"": ".*source.timer.at`, "mail_weekly=a@example.org")
	shell(t, "cd /etc/netwatch; mv keep netwatch.toml")
	shown := does(t, "2.0", "config show")
	for _, want := range []string{
		`stun_every: "40s"`, `mqtt_password: ""`, `mqtt_user: ""`,
		`mail_changes: {"value":"root@localhost","example":"root@example.org"}`,
		`"en":"**IPv4**: ` + FirstPublic.String() + ", since", `"fr":"**IPv4**: ` + FirstPublic.String() + ", depuis",
		`state: {"style":"success"`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the panel does not show %s", want)
		}
	}
	for button, want := range map[string]string{"look": "verify turn", "doctor": "ok", "report": FirstPublic.String()} {
		if got := does(t, "2.0", "config "+button); !strings.Contains(got, want) {
			t.Errorf("button %s says %s", button, got)
		}
	}
	if out, err := ynh(t, "2.0", "findings"); err == nil || !strings.Contains(out, "mail: asking localhost:25: ") {
		t.Errorf("diagnosis is not told of the mail server that is not there: %v\n%s", err, out)
	}
}

// wantRefused wants values to be refused beside the option that they are wrong in, and nothing
// to be written.
func wantRefused(t *testing.T, said string, env ...string) {
	t.Helper()
	conf := shell(t, "cat /etc/netwatch/*")
	out := does(t, "2.0", "config apply", env...)
	shell(t, "printf %s "+quoted(out)+" | grep -q "+quoted(said))
	if now := shell(t, "cat /etc/netwatch/*"); now != conf {
		t.Errorf("%s was written:\n%s", env, cmp.Diff(conf, now))
	}
}

// panelPassword holds that the password goes into the file that the configuration names, and
// that the panel takes away its own file alone, and with the broker alone.
func panelPassword(t *testing.T) {
	t.Helper()
	const broker = "mqtt_broker=mqtts://broker.example.org"
	shell(t, "echo mine >/etc/netwatch/mqtt.password")
	does(t, "2.0", "config apply", "stun_every=41s", "mqtt_broker=", "mqtt_password=")
	shell(t, "grep -qx mine /etc/netwatch/mqtt.password")
	does(t, "2.0", "config apply", broker, "mqtt_host=turn1", "mqtt_password=at-the-broker")
	// YunoHost runs it so that all that it does is in the log.
	if out := does(t, "2.0", "config apply", "mqtt_password=changed-by-itself", "SHELLOPTS=xtrace"); !strings.Contains(
		out, "+ keep_password") || strings.Contains(out, "changed-by-itself") {
		t.Error("the password is in the log, or there is none")
	}
	shell(t, "grep -qx changed-by-itself /etc/netwatch/mqtt.password")
	shell(t, `netwatch set 'source.mqtt.password="@/etc/netwatch/own"'; ln -s /root/led-here /etc/netwatch/own.new`)
	does(t, "2.0", "config apply", broker, "mqtt_host=turn2", "mqtt_password=in-its-own-file")
	shell(t, "cd /etc/netwatch; grep -qx in-its-own-file own; grep -qx changed-by-itself mqtt.password")
	shell(t, "! ls /root/led-here 2>/dev/null")
	does(t, "2.0", "config apply", "stun_every=40s", "mqtt_broker=", "mqtt_password=")
	shell(t, "cd /etc/netwatch; rm own mqtt.password")
	does(t, "2.0", "config apply", broker, "mqtt_host=turn1", "mqtt_password=at-the-broker")
	does(t, "2.0", "config apply", "mqtt_broker=", "mqtt_password=")
	shell(t, "! ls /etc/netwatch/mqtt.password 2>/dev/null")
}

// quoted is a text for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// wantSet wants what the panel set to be there, and the password for nobody else.
func wantSet(t *testing.T) {
	t.Helper()
	const want = "40s\nroot@localhost\n\nturn1"
	if got := shell(t, "netwatch set source.stun.every mail report source.mqtt.host"); got != want {
		t.Errorf("what is set is %q, not %q", got, want)
	}
	shell(t, `grep -qx 'se"cret' /etc/netwatch/mqtt.password`)
	shell(t, "! runuser -u nobody -- cat /etc/netwatch/mqtt.password 2>/dev/null")
	shell(t, "runuser -u netwatch -- cat /etc/netwatch/mqtt.password")
}

// Where there is nothing to keep right the installation ends with an error, and what is
// removed then leaves nothing.
func TestYunoHostAppWithoutServer(t *testing.T) {
	onYunoHostWithApp(t)
	shell(t, "systemctl disable --now synapse-coturn synapse__2-coturn coturn; rm -rf /etc/matrix-* "+
		"/etc/systemd/system/synapse*-coturn.service; systemctl daemon-reload")
	before := standing(t)
	if out, err := ynh(t, "1.0", "install"); err == nil || !strings.Contains(err.Error()+out, "coturn") {
		t.Errorf("it ends with %v:\n%s", err, out)
	}
	does(t, "1.0", "remove")
	if diff := cmp.Diff(before, standing(t)); diff != "" {
		t.Error("the machine is another:", diff)
	}
}
