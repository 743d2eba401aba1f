package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/sources"
)

// drainTime is how long runs may take to end after SIGTERM. It is less than the 90 s
// of systemd, so that their results are still written.
const drainTime = 75 * time.Second

// Run serves until ctx is done, drains, closes the state and the history and returns. It reads the
// configuration again whenever hangups has a signal.
func (d *Daemon) Run(ctx context.Context, hangups <-chan os.Signal) error {
	err := errors.Join(d.run(ctx, hangups), d.store.Close())
	d.history.Close()
	return err
}

func (d *Daemon) run(ctx context.Context, hangups <-chan os.Signal) error {
	callers, err := d.edges.listen(string(d.config.Load().Daemon.Socket))
	if err != nil {
		return err
	}
	d.admit(callers)
	hungry, err := watchdog()
	if err != nil {
		d.note(err)
	}
	d.rules.Resume()
	served := callers.Serve(controlled{d})
	d.watch.set(d.config.Load().Sources)
	defer d.start(ctx)()
	d.tell(systemd.SdNotifyReady)
	d.log.Info().Str("version", d.version).Str("config", d.config.Load().File).Msg("ready")
	for {
		select {
		case <-hangups:
			d.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, monotonic()))
			d.reload()
			d.admit(callers)
			d.tell(systemd.SdNotifyReady)
		case <-hungry:
			d.feed()
		case err := <-served:
			d.drain()
			return fmt.Errorf("serving the control socket: %w", err)
		case <-ctx.Done():
			d.tell(systemd.SdNotifyStopping)
			callers.Close()
			d.drain()
			return callers.HangUp()
		}
	}
}

// admit says who may connect to which socket, by the configuration.
func (d *Daemon) admit(callers Callers) {
	var users []uint32
	for _, s := range d.config.Load().Sources {
		if f, ok := s.Settings.(sources.SpokenFor); ok {
			users = append(users, f.UIDs()...)
		}
	}
	if err := callers.Admit(users); err != nil {
		d.note(err)
	}
}

// start emits started in the background. The function that it returns ends that, and
// waits for its end.
func (d *Daemon) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.started(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// started looks once, so that rules do not act on what an earlier process knew, and
// then emits started.
func (d *Daemon) started(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	d.probe(looking, "", true)
	cancel()
	if ctx.Err() == nil {
		_ = d.emit(netwatch.NewEvent(netwatch.Started, "netwatch", nil)) // Refused only while netwatch ends
		d.begun.Store(true)
	}
}

// drain lets the runs end, and then stops the sources: steps of these runs may still
// ask them.
func (d *Daemon) drain() {
	d.log.Info().Msg("draining")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	d.rules.Drain(ctx)
	d.watch.stop()
}

// tell tells systemd how the daemon stands (sd_notify(3)). Without systemd it does
// nothing.
func (d *Daemon) tell(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		d.note(fmt.Errorf("notifying systemd: %w", err))
	}
}

// monotonic is the time that systemd wants beside RELOADING=1, in microseconds.
func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // The clock always exists
	return now.Nano() / 1000
}
