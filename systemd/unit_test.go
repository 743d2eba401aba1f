package systemd

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

// ask has systemd do a verb on the fake's unit, or send it SIGHUP.
func ask(t *testing.T, verb Verb, deadline time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	u, err := Open(ctx, "t.service", netwatch.Job{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	u.bears = 300 * time.Millisecond
	if _, err := u.State(ctx); err != nil {
		t.Fatal(err)
	}
	if verb == Kill {
		return "", u.Signal(ctx, syscall.SIGHUP)
	}
	return u.Do(ctx, verb)
}

// wantError wants words in an error or its remedy, which must be there.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil || netwatch.Hint(err) == "" {
		t.Errorf("%v has no remedy", err)
		return
	}
	said := err.Error() + " hint: " + netwatch.Hint(err)
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it says %q, which lacks %q", said, w)
		}
	}
}

// Each refusal is told with what is to be done about it.
func TestUnitRefused(t *testing.T) {
	f := systemdtest.New(t)
	const must = busError + "InteractiveAuthorizationRequired"
	const asIs = "Interactive authentication required."
	for _, c := range []struct {
		name, text string
		verb       Verb
		want       string
	}{
		{must, asIs, "try-restart", "org.freedesktop.systemd1.manage-units with unit t.service and verb try-restart"},
		{must, asIs, Kill, "unit t.service and verb kill"},
		{busError + "NoReply", "Method call timed out", "restart", "systemctl restart polkit.service"},
		{busError + "NoReply", "Method call timed out", Kill, "polkit does not answer systemd"},
		{
			busError + "TimedOut",
			"Failed to activate service 'org.freedesktop.PolicyKit1': timed out (service_start_timeout=25000ms)",
			"restart", "systemctl restart polkit.service",
		},
		{
			busError + "NoReply", "Message recipient disconnected from message bus without replying",
			"restart", "systemctl status dbus polkit",
		},
		{busError + "AccessDenied", "Permission denied", "restart", "install polkitd"},
		{systemd + ".UnitMasked", "Unit polkit.service is masked.", "restart", "systemctl unmask polkit.service"},
		{systemd + ".UnitMasked", "Unit t.service is masked.", "restart", "systemctl unmask t.service"},
		{systemd + ".NoSuchUnit", "Unit t.service not found.", "restart", "no such unit"},
		{
			systemd + ".JobTypeNotApplicable", "Job type reload is not applicable for unit t.service.",
			"reload", `use "reload-or-restart t.service" or "signal HUP t.service"`,
		},
		{systemd + ".NoSuchProcess", "No main process to kill", Kill, "systemctl status t.service"},
		{systemd + ".BadUnitSetting", "Unit t.service has a bad unit file setting.", "start", "systemd-analyze verify"},
		{busError + "InvalidArgs", "Unit name is not valid.", "start", "the name that systemctl shows"},
		{busError + "Spawn.ChildExited", "Process exited.", "start", "did not answer"},
	} {
		f.Refuses(c.name, c.text)
		_, err := ask(t, c.verb, 5*time.Second)
		wantError(t, err, c.want)
	}
}

// Somebody else on the bus says that the job is done. Only systemd is believed.
func TestUnitForgedSignal(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		job := <-f.Awaited
		systemdtest.Forge(t, job)
		select {
		case <-f.Awaited: // The step still waits for its job
		case <-time.After(3 * slowLook):
			t.Error("nobody waits for the job any more")
		}
		return "failed"
	})
	if result, err := ask(t, "restart", 20*time.Second); result != "failed" || err != nil {
		t.Errorf("the job ended in %q, %v", result, err)
	}
}

func TestVerbs(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	for verb, want := range map[Verb]string{
		Restart: "RestartUnit replace", TryRestart: "TryRestartUnit replace", Reload: "ReloadUnit replace",
		ReloadOrRestart: "ReloadOrRestartUnit replace", Start: "StartUnit replace", Stop: "StopUnit replace",
		Kill: "KillUnit main 1",
	} {
		result, err := ask(t, verb, 5*time.Second)
		if asked := f.Asked(); err != nil || asked[len(asked)-1] != want || verb != Kill && result != Done {
			t.Errorf("%s: %q, %v, and systemd was called with %q", verb, result, err, asked)
		}
	}
}

// What a step waits for is told over a new bus as well.
func TestUnitTellsOverANewBus(t *testing.T) {
	f := systemdtest.New(t)
	var waits []string
	u, err := Open(t.Context(), "t.service", netwatch.Job{Waiting: func(what string) { waits = append(waits, what) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { u.Close() }()
	f.NewBus(t, "/org/freedesktop/systemd1/job/1")
	st, err := u.Watch(t.Context(), 0, func(State) bool { return true })
	if err != nil || st.MainPID != 100 {
		t.Errorf("%+v, %v", st, err)
	}
	waits = nil
	if _, err := u.Watch(t.Context(), 0, func(State) bool { return true }); err != nil || len(waits) == 0 {
		t.Errorf("it waits for %q, %v", waits, err)
	}
}

func TestLookUnit(t *testing.T) {
	f := systemdtest.New(t)
	f.SetUntold("UnitFileState", "disabled")
	look, err := LookUnit(t.Context(), "t.service")
	want := UnitLook{"active (running), main process 100", true, false, false, "5 starts in 10s", "disabled", 100}
	if look != want || err != nil {
		t.Errorf("%+v, %v, want %+v", look, err, want)
	}
	for _, state := range []string{"activating", "deactivating"} {
		f.Set("ActiveState", state)
		if look, err = LookUnit(t.Context(), "t.service"); !look.Moving || look.Running || err != nil {
			t.Errorf("%+v, %v", look, err)
		}
	}
	f.Set("ActiveState", "inactive", "Job", struct {
		ID   uint32
		Path dbus.ObjectPath
	}{7, "/org/freedesktop/systemd1/job/7"})
	if look, err = LookUnit(t.Context(), "t.service"); !look.Moving || look.Running || err != nil {
		t.Errorf("it waits for its start, and %+v, %v", look, err)
	}
	f.Set("Job", struct {
		ID   uint32
		Path dbus.ObjectPath
	}{0, "/"})
	f.Set("ActiveState", "failed", "SubState", "failed", "MainPID", uint32(0))
	f.Set("Result", "start-limit-hit", "StartLimitBurst", uint32(0))
	look, err = LookUnit(t.Context(), "t.service")
	want = UnitLook{"failed (failed), result start-limit-hit", false, false, true, "", "disabled", 0}
	if look != want || err != nil {
		t.Errorf("%+v, %v, want %+v", look, err, want)
	}
	f.Set("LoadState", "not-found")
	_, err = LookUnit(t.Context(), "coturnn.service")
	wantError(t, err, "looking at coturnn.service: there is no such unit", "there is coturn.service, coturn2.service")
}

// The unit that was meant may have the same words in another order, as YunoHost
// has renamed its.
func TestNearestUnit(t *testing.T) {
	got := nearest("synapse-coturn.service", []string{"cron.service", "coturn-synapse.service", "synapse.service"})
	if len(got) == 0 || got[0] != "coturn-synapse.service" {
		t.Errorf("nearest is %q", got)
	}
}
