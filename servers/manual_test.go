package servers_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"netwatch/servers"
)

// TestManualServers holds that netwatch.toml(5) has every server that can be rotated,
// with its options, in words and in its grammar, and so has reference.toml; and likewise
// each that can be asked for relays.
func TestManualServers(t *testing.T) {
	manual, reference := contents(t, "../docs/netwatch.toml.5"), contents(t, "../packaging/reference.toml")
	grammar := regexp.MustCompile(`(?m)^rotate +=.*(\n +.*)*`).FindString(manual)
	verify := regexp.MustCompile(`(?m)^verify +=.*(\n +.*)*`).FindString(manual)
	for _, s := range servers.All {
		words := regexp.MustCompile(`(?m)^\.It Cm rotate ` + s.Name + ` Ar file.*$`).FindString(manual)
		if words == "" || !strings.Contains(grammar, `"`+s.Name+`"`) {
			t.Errorf("netwatch.toml(5) has no step, or no grammar, of %s", s.Name)
		}
		for _, option := range s.Options {
			inWords, inGrammar := " "+option.Name+" ", `"`+option.Name+`="`
			if option.Bare {
				inWords, inGrammar = " Ar "+strings.ToLower(option.Usage), `"`+s.Name+`" path `+option.Name
			}
			if !strings.Contains(words, inWords) || !strings.Contains(grammar, inGrammar) {
				t.Errorf("netwatch.toml(5) lacks %s= of %s", option.Name, s.Name)
			}
		}
		asked := regexp.MustCompile(`(?m)^\.It Cm verify (\w+ \| )?`+s.Name+` `).MatchString(manual) &&
			strings.Contains(verify, `"`+s.Name+`"`) && strings.Contains(reference, "\n  # verify "+s.Name+" FILE")
		if s.Offer != nil && !asked {
			t.Errorf("netwatch.toml(5) or reference.toml does not say how %s is verified", s.Name)
		}
		if !strings.Contains(reference, "\n  # rotate "+s.Name+" FILE"+s.Usage()+"\n") {
			t.Errorf("reference.toml does not say what follows rotate %s", s.Name)
		}
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
