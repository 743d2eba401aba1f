package sources

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Who is to say something while something else is being said waits no longer than whoever
// asked for it.
func TestSayWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := (&MQTT{Broker: "mqtt://b"}).Source("mqtt", Env{}).(*mqtt)
		s.saying <- struct{}{}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.say(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
