package netwatch

import (
	"testing"
	"time"
)

func TestWhen(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 30, 12, 30, 15, 7, berlin) // The day after an hour was left out
	for text, want := range map[string]string{
		"30d":                       "2026-02-28T12:30:15.000000007+01:00",
		"1d":                        "2026-03-29T12:30:15.000000007+02:00",
		"2d":                        "2026-03-28T12:30:15.000000007+01:00",
		"2h":                        "2026-03-30T10:30:15.000000007+02:00",
		"90m":                       "2026-03-30T11:00:15.000000007+02:00",
		"today":                     "2026-03-30T00:00:00+02:00",
		"yesterday":                 "2026-03-29T00:00:00+01:00",
		"2026-03-01":                "2026-03-01T00:00:00+01:00",
		"2026-03-30 04:30":          "2026-03-30T04:30:00+02:00",
		"2026-03-30 04:30:05":       "2026-03-30T04:30:05+02:00",
		"2026-11-23T17:25:19Z":      "2026-11-23T17:25:19Z",
		"2026-11-23T17:25:19+05:30": "2026-11-23T17:25:19+05:30",
	} {
		if at, err := When(text, now); err != nil || at.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %s (%v), want %s", text, at.Format(time.RFC3339Nano), err, want)
		}
	}
	for _, text := range []string{"", "30", "-2h", "d", "-1d", "30 d", "tomorrow", "2026-02-30", "04:30", "100000d"} {
		if at, err := When(text, now); err == nil {
			t.Errorf("%q is %s", text, at)
		}
	}
}
