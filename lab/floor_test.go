//go:build lab

package lab

import (
	"testing"
	"time"
)

// floor is how long it takes when a person at the keyboard knows the new
// address the moment it is there: sed, systemctl restart and nothing else.
func floor(t *testing.T, n int) Times {
	t.Helper()
	var times Times
	for i := range n {
		to := Public(i)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		shell(t, "sed -i 's/^external-ip=.*/external-ip="+to.String()+"/' "+YunoHost.File+
			" && setfacl -m user:turnserver:r "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
		times = append(times, right(t, to, to, 5*time.Second).Sub(changed))
	}
	return times
}

func TestFloor(t *testing.T) {
	fresh(t, YunoHost)
	times := floor(t, 3)
	t.Logf("by hand at the instant of the change: %s", times)
	if times.Median() > time.Second {
		t.Errorf("the lab itself is slow: nothing measured in it means anything")
	}
}
