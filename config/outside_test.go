package config_test

import (
	"testing"

	"netwatch/actions"
	"netwatch/config"
)

// A machine that looks at others from outside, or only says to them what its address is,
// needs no rule for that.
func TestNoRuleIsNeededToServe(t *testing.T) {
	const known = "[source.stun]\nservers = [\"a.example.org\", \"b.example.org\"]\n"
	const says = known + "[source.mqtt]\nbroker = \"mqtts://broker.example.org\"\nhost = \"vps\"\npassword = \"@/p\"\n"
	for _, text := range []string{says, says + "serve = [\"turn1\"]\n"} {
		if _, err := config.Parse("f", []byte(text), actions.Env{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := config.Parse("f", []byte(known), actions.Env{}); err == nil {
		t.Error("nothing would ever be done, and that is no mistake")
	}
}
