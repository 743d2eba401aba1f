package main

import (
	"context"
	"fmt"
	"strings"
)

// bare is netwatch without polls, and among is the same with [source.mqtt].
var (
	bare  = idler{"netwatch, not polling", "bench-netwatch.service"}
	among = idler{"the same, with a broker", "bench-among.service"}
)

// amongConf is [source.mqtt].
const amongConf = `[source.mqtt]
broker = "mqtt://127.0.0.1"
host = "bench"
password = "@/etc/netwatch/among.password"
`

// startAmong starts Debian's mosquitto, and a netwatch that is connected to it and is in
// all else as the bare one.
func (b *bench) startAmong(ctx context.Context, config string) ([]idler, error) {
	if err := b.server.AddPackages(ctx, "mosquitto"); err != nil {
		return nil, err
	}
	config = strings.ReplaceAll(config, "bench-idle", "bench-among") + amongConf
	for name, text := range map[string]string{
		"/etc/netwatch/among.toml": config, "/etc/netwatch/among.password": "none\n",
		"/etc/mosquitto/conf.d/bench.conf": "listener 1883 127.0.0.1\nallow_anonymous true\n",
	} {
		if err := b.server.WriteFile(name, text, 0o600); err != nil {
			return nil, err
		}
	}
	_, err := b.server.Exec(ctx, "sh", "-c", "chown mosquitto: /etc/mosquitto/conf.d/*; systemctl start mosquitto && "+
		"systemd-run -q --unit="+among.unit+" -p Type=notify -p WatchdogSec=30 -p Environment="+asUnit+
		" netwatch -c /etc/netwatch/among.toml run")
	return []idler{among}, err
}

// printAmong prints what [source.mqtt] takes.
func printAmong(all []idler, last []usage, wakes []int) {
	with, without := 0, 0
	for i, d := range all {
		switch d {
		case bare:
			without = i
		case among:
			with = i
		}
	}
	fmt.Printf("\n[source.mqtt] takes %s MB of private memory more, and %d wakes a minute more\n",
		mb(last[with].Private-last[without].Private), wakes[with]-wakes[without])
}
