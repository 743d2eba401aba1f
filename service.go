package netwatch

import "os"

// script is what starts netwatch where there is no systemd (contrib/openwrt).
const script = "/etc/init.d/netwatch"

// byScript says whether netwatch is started by a script here, as on OpenWrt, and not by
// systemd (sd_booted(3)).
func byScript() bool {
	_, none := os.Stat("/run/systemd/system")
	_, err := os.Stat(script)
	return none != nil && err == nil
}

// Restarting is the command that starts a unit of netwatch's anew, or netwatch where there
// are no units.
func Restarting(unit string) string {
	if byScript() {
		return script + " restart"
	}
	return "systemctl restart " + unit
}

// Logged is the command that shows what netwatch has logged.
func Logged() string {
	if byScript() {
		return "logread -e netwatch"
	}
	return "journalctl -u netwatch"
}
