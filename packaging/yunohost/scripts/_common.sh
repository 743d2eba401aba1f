#!/bin/bash
# What the scripts have in common. YunoHost brings the variables and the helpers.

# install_package puts the package for this machine into place, or --unpack does its files
# alone. A configuration that is there already stays.
install_package() {
	dpkg --force-confold "${1:---install}" "$YNH_APP_BASEDIR"/conf/netwatch_*_"$(dpkg --print-architecture)".deb
}

# as_netwatch runs a command as the user whose the state is. Root would follow links that lie
# there; and it has no terminal, where it could type for root.
as_netwatch() { setsid --wait runuser --user netwatch -- "$@"; }

# plain has the web administration, which takes what it shows for HTML, show a text as it is.
plain() { sed --unbuffered 's/</\&lt;/g'; }

# told says in the log, and to who installs, what a command says; its exit status is the
# command's.
told() {
	"$@" 2>&1 | plain | while IFS= read -r line; do
		ynh_print_info "$line"
	done
	return "${PIPESTATUS[0]}"
}

# start has systemd run netwatch, now and after each boot, and YunoHost's diagnosis ask for what
# is wrong. YunoHost keeps an app's scripts as files that nobody may run.
start() {
	systemctl enable --quiet --now netwatch.socket netwatch-file.socket netwatch.service
	yunohost service add netwatch --description="Keeps calls right when the public address changes" \
		--test_conf="bash /etc/yunohost/apps/netwatch/scripts/findings"
}
