package systemd

import (
	"context"
	"io"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// A Bus is the way to a systemd and the clock that it goes by. Nil is the system bus.
type Bus struct {
	// Dial connects to it.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// Uptime is what CLOCK_MONOTONIC says there.
	Uptime func() time.Duration
}

// connect connects and says hello.
func (b *Bus) connect(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	opts = append(opts, dbus.WithContext(ctx))
	if b == nil {
		return dbus.ConnectSystemBus(opts...)
	}
	way, err := b.Dial(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dbus.NewConn(way, opts...)
	if err == nil {
		err = conn.Auth(nil)
	}
	if err == nil {
		err = conn.Hello()
	}
	if err != nil {
		_ = way.Close()
		return nil, err
	}
	return conn, nil
}

// uptime is what CLOCK_MONOTONIC says.
func (b *Bus) uptime() (time.Duration, error) {
	if b != nil {
		return b.Uptime(), nil
	}
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}

// ago is how long ago an instant of CLOCK_MONOTONIC was; -1 if it never was.
func (b *Bus) ago(us uint64) time.Duration {
	now, err := b.uptime()
	if us == 0 || err != nil {
		return -1
	}
	return max(0, now-microseconds(us))
}
